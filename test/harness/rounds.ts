/**
 * How often something that differs from time to time is tried: `full` with `FULL=1` in the environment, else a third of
 * that, which finds what is plainly broken.
 */
export function rounds(full: number): number {
  return process.env.FULL === "1" ? full : Math.ceil(full / 3);
}
