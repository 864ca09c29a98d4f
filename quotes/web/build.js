// Bundles the two pages into ../static: names that change with the content, each file also packed.
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { build } from "esbuild";
import "./types.js";

const OUT = "../static";
const ASSETS = `${OUT}/assets`;
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }; // 11 takes 20 times as long

process.chdir(import.meta.dirname);
rmSync(OUT, { recursive: true, force: true });
mkdirSync(ASSETS, { recursive: true });

/** Where each entry point's script, or its style where it has one, is served from. */
async function bundle(entryPoints, options) {
  const { metafile } = await build({
    absWorkingDir: import.meta.dirname, // esbuild would take the folder it was loaded in
    entryPoints,
    outdir: ASSETS,
    entryNames: "[name]-[hash]",
    chunkNames: "[name]-[hash]",
    assetNames: "[name]-[hash]",
    bundle: true,
    format: "esm",
    minify: true,
    metafile: true,
    target: ["chrome111", "firefox113", "safari16.4"],
    define: { "process.env.NODE_ENV": '"production"', "process.env.USE_IMPORT": '"true"' },
    loader: { ".ttf": "file", ".svg": "file" },
    legalComments: "none",
    logLevel: "warning",
    ...options,
  });
  const served = {};
  for (const [file, { entryPoint, cssBundle }] of Object.entries(metafile.outputs)) {
    if (!entryPoint) continue;
    served[entryPoint.split("/").at(-1)] = url(file);
    if (cssBundle) served[`${entryPoint.split("/").at(-1)}.css`] = url(cssBundle);
  }
  return served;
}

const url = (file) => file.replace(`${OUT}/`, ""); // relative to where the pages are

const workers = await bundle([
  "monaco-editor/esm/vs/editor/editor.worker.js",
  "monaco-editor/esm/vs/language/json/json.worker.js",
  "monaco-graphql/esm/graphql.worker.js",
]);
const served = {
  ...(await bundle(["src/page.ts", "src/page.css", "src/favicon.svg"], {
    loader: { ".svg": "copy" },
  })),
  ...(await bundle(["src/explorer.ts"], {
    splitting: true,
    define: {
      "process.env.NODE_ENV": '"production"',
      "process.env.USE_IMPORT": '"true"',
      WORKERS: JSON.stringify({
        editorWorkerService: workers["editor.worker.js"],
        json: workers["json.worker.js"],
        graphql: workers["graphql.worker.js"],
      }),
    },
  })),
};

for (const name of ["page.html", "explorer.html"]) {
  const html = readFileSync(`src/${name}`, "utf8").replaceAll(/\{\{(.+?)\}\}/g, (_, key) => {
    if (!served[key]) throw new Error(`${name} names ${key}, which was not built.`);
    return served[key];
  });
  writeFileSync(`${OUT}/${name}`, html);
}

await Promise.all(
  readdirSync(ASSETS).map(async (name) => {
    const whole = readFileSync(`${ASSETS}/${name}`);
    writeFileSync(`${ASSETS}/${name}.gz`, await promisify(gzip)(whole, { level: 9 }));
    writeFileSync(`${ASSETS}/${name}.br`, await promisify(brotliCompress)(whole, BROTLI));
  }),
);
