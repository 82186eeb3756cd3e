/** ms since this process started, on a clock that nothing sets: presses and ages are measured by it. */
export function now(): number {
  return performance.now();
}
