import { realpathSync, statSync } from "node:fs";
import { dirname, relative, sep } from "node:path";

/** Says which symbolic links a watcher follows: it watches each folder once, and none that contains the link. */
export class Links {
  readonly #roots: readonly string[];
  /** By the real path of a folder, the link that is followed to it. */
  readonly #followed = new Map<string, string>();

  /**
   * @param roots what is watched
   * @param isIgnored whether no file or folder of this name is watched
   */
  constructor(
    roots: readonly string[],
    private readonly isIgnored: (name: string) => boolean,
  ) {
    this.#roots = roots.flatMap((root) => realPath(root) ?? []);
  }

  isFollowed(link: string): boolean {
    const target = realFolder(link);
    // To watch a file costs little, whatever leads to it.
    if (target === undefined) return true;
    if (target.split(sep).includes("node_modules")) return false;
    const home = realPath(dirname(link));
    if ([home, ...this.#roots].some((path) => path !== undefined && isIn(path, target))) return false;
    if (this.#roots.some((root) => this.#isWatchedIn(root, target))) return false;
    for (const [folder, other] of this.#followed) {
      if (other !== link && this.#isWatchedIn(folder, target) && realFolder(other) === folder) return false;
    }
    this.#followed.set(target, link);
    return true;
  }

  /** Whether who watches `folder` sees `path`. */
  #isWatchedIn(folder: string, path: string): boolean {
    return isIn(path, folder) && !relative(folder, path).split(sep).some(this.isIgnored);
  }
}

function isIn(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/** The real path of a folder; `undefined` where there is none. */
function realFolder(path: string): string | undefined {
  const real = realPath(path);
  return real !== undefined && unlessRefused(() => statSync(real))?.isDirectory() ? real : undefined;
}

function realPath(path: string): string | undefined {
  return unlessRefused(() => realpathSync(path));
}

/** What the system says of a path; `undefined` where it leads nowhere, or to what this user may not see. */
function unlessRefused<Found>(look: () => Found): Found | undefined {
  try {
    return look();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return undefined;
  }
}
