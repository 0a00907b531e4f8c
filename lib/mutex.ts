/** Runs actions one at a time, in the order of the calls; a failed action does not stop the next. */
export class Mutex {
  private last: Promise<unknown> = Promise.resolve();

  runExclusive<T>(action: () => Promise<T>): Promise<T> {
    const result = this.last.then(action);
    this.last = result.catch(() => undefined);
    return result;
  }
}
