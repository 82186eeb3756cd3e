import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const FRAME = /(file:\/\/\/[^\s()]+|\/[^\s()]+|[A-Za-z]:\\[^()]+):(\d+):\d+\)?$/;

/**
 * Where in a worker's own files an error was thrown, as `props/fogger/backend/worker.ts:12`; `file` alone where its
 * stack names none of them.
 *
 * @param file the worker's file as it is shown to people
 * @param dir the folder in which that file is
 */
export function locate(error: unknown, file: string, dir: string): string {
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  for (const line of stack.split("\n")) {
    const [, place, lineNumber] = FRAME.exec(line.trim()) ?? [];
    if (!place) continue;
    const path = relative(dir, place.startsWith("file:") ? fileURLToPath(place) : place);
    if (path.startsWith("..") || path.split(sep).includes("node_modules")) continue;
    return `${join(dirname(file), path)}:${lineNumber}`;
  }
  return file;
}
