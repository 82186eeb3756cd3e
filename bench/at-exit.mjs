/** What is still to be undone when the bench ends, however it ends. @type {Set<() => void>} */
const pending = new Set();

process.on("exit", () => {
  for (const undo of pending) undo();
});
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) process.on(signal, () => process.exit(1));

/**
 * Calls `undo` at the bench's end, unless the function that it gives was called before.
 *
 * @param {() => void} undo
 * @returns {() => void}
 */
export function atExit(undo) {
  pending.add(undo);
  return () => pending.delete(undo);
}
