// One piece of work at a time, however often it is asked for.

const AGAIN = 5_000; // milliseconds until work that failed is tried again

/**
 * Each ring does the work once more after it was rung, and rings during the work are one. Work
 * that fails is told to `failed` and tried again, until `silenced`.
 */
export class Bell {
  #rung = false;
  #working = false;
  #silenced = false;
  #again: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly work: () => Promise<void>,
    readonly failed: (error: unknown) => void,
  ) {}

  ring(): void {
    this.#rung = true;
    if (!this.#working && !this.#silenced) void this.#answer();
  }

  silence(): void {
    this.#silenced = true;
    clearTimeout(this.#again);
  }

  async #answer(): Promise<void> {
    this.#working = true;
    clearTimeout(this.#again);
    try {
      while (this.#rung && !this.#silenced) {
        this.#rung = false;
        await this.work();
      }
    } catch (error) {
      if (!this.#silenced) {
        this.failed(error);
        this.#again = setTimeout(() => this.ring(), AGAIN);
      }
    } finally {
      this.#working = false;
    }
  }
}
