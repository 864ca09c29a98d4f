declare module "*.css"; // esbuild puts them into a file of their own
