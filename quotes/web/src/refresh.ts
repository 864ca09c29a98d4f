// One read at a time, however often it is requested, spread over time where many viewers would
// send the same request at the same moment.

const SPREAD = 10_000; // milliseconds over which the viewers' reads after one commit are spread
const FIRST_RETRY = 5_000; // milliseconds; each further failure doubles it
const LONGEST_RETRY = 60_000;

/**
 * Each `now` or `soon` leads to at least one whole run of `work` afterwards; requests during a run
 * are one. A run that fails is passed to `failed` and tried again later, until `stop`.
 */
export class Refresh {
  #wanted = false;
  #working = false;
  #stopped = false;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly work: () => Promise<void>,
    readonly failed: (error: unknown) => void,
  ) {}

  now(): void {
    this.#wanted = true;
    this.#cancel();
    if (!this.#working && !this.#stopped) void this.#run();
  }

  /** At a random moment of the next ten seconds, for what every viewer wants at a commit. */
  soon(): void {
    if (!this.#wanted && this.#timer === undefined) this.#at(Math.random() * SPREAD);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  #at(milliseconds: number): void {
    if (!this.#stopped) this.#timer = setTimeout(() => this.now(), milliseconds);
  }

  #cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #run(): Promise<void> {
    this.#working = true;
    try {
      while (this.#wanted && !this.#stopped) {
        this.#wanted = false;
        await this.work();
        this.#failures = 0;
      }
    } catch (error) {
      if (!this.#stopped) {
        this.failed(error);
        this.#cancel();
        this.#at(retryAfter(this.#failures++));
      }
    } finally {
      this.#working = false;
    }
  }
}

/** Random in its upper half, so that those who failed together do not return together. */
function retryAfter(failures: number): number {
  const longest = Math.min(FIRST_RETRY * 2 ** failures, LONGEST_RETRY);
  return longest * (0.5 + Math.random() / 2);
}
