import { relative } from "node:path";

/** How a path is shown: from `base` where it is inside, else whole. */
export function pathFrom(base: string): (path: string) => string {
  return (path) => {
    const short = relative(base, path);
    return short === "" || short.startsWith("..") ? path : short;
  };
}
