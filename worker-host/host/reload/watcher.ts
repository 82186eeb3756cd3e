import { existsSync, readdirSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, relative, sep } from "node:path";
import { type FSWatcher, watch } from "chokidar";
import type { Logger } from "pino";
import type { Clock } from "../../base/clock.ts";

interface WatcherOptions {
  /** What is watched, with all that is in it. */
  folders: readonly string[];
  log: Logger;
  clock: Clock;
  /** Called with the files, absolute, that changed, came or went, once it has been quiet for a moment. */
  onChange: (files: ReadonlySet<string>) => void;
}

/** An editor, or git, writes several files, or one in several steps. */
const QUIET_MS = 25;
const AT_MOST_MS = 250;
/** When a new folder is looked into again: chokidar misses what comes after its own look and before it watches. */
const AGAIN_MS = 1_000;

/** Watches files. */
export class Watcher {
  #watcher: FSWatcher | undefined;
  readonly #files = new Set<string>();
  #changed = new Set<string>();
  #since = 0;
  #cancel = () => {};
  #newFolders = new Set<string>();
  #cancelAgain = () => {};
  #onStop = () => {};
  #stopped = false;

  constructor(private readonly options: WatcherOptions) {}

  /** Fulfils when it sees whatever happens from then on, or is stopped before that. Once more, it begins anew. */
  async start(): Promise<void> {
    const { folders, log } = this.options;
    await this.#watcher?.close();
    if (this.#stopped) return;
    // With one among them that isn't there, chokidar would be ready before it is.
    const [there, missing] = [folders.filter((path) => existsSync(path)), folders.filter((path) => !existsSync(path))];
    const links = new Links(folders, isIgnored);
    const watcher = watch(there, {
      ignoreInitial: true,
      ignorePermissionErrors: true,
      ignored: (path, stats) =>
        !folders.includes(path) &&
        (isIgnored(basename(path)) || (stats?.isSymbolicLink() === true && !links.isFollowed(path))),
    });
    this.#watcher = watcher;
    watcher.on("all", (event, file) => {
      this.#note(file);
      if (event === "addDir") this.#lookAgain(file);
    });
    // "all" leaves out what comes within 50 ms of the last change of a file, and so how a save in two steps ends.
    watcher.on("raw", (_, name, details) => {
      const file = fileOf(name, details);
      if (file !== undefined && !isIgnored(basename(file)) && this.#isWatched(file)) this.#note(file);
    });
    watcher.on("error", (error) => {
      log.warn(
        { err: error },
        "some edits may go unseen: the system can't watch more files; `rescan` looks at them all",
      );
    });
    await new Promise<void>((resolve) => {
      watcher.once("ready", resolve);
      // It is never ready with nothing.
      if (there.length === 0) resolve();
      this.#onStop = resolve;
    });
    if (!this.#stopped) watcher.add([...missing, ...this.#files]);
  }

  /** Watches these files too. */
  add(files: readonly string[]): void {
    for (const file of files) this.#files.add(file);
    this.#watcher?.add([...files]);
  }

  /** Where a file isn't there yet, its folder is watched, with whatever else is in it. */
  #isWatched(file: string): boolean {
    const inside = (folder: string) => file === folder || file.startsWith(folder + sep);
    return this.#files.has(file) || this.options.folders.some(inside);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    this.#cancelAgain();
    await this.#watcher?.close();
    this.#onStop();
  }

  #lookAgain(folder: string): void {
    this.#newFolders.add(folder);
    this.#cancelAgain();
    this.#cancelAgain = this.options.clock.after(AGAIN_MS, () => {
      const known = new Map(Object.entries(this.#watcher?.getWatched() ?? {}));
      const missed = [...this.#newFolders].flatMap((folder) => {
        const names = unlessRefused(() => readdirSync(folder)) ?? [];
        return names.filter((name) => !known.get(folder)?.includes(name)).map((name) => join(folder, name));
      });
      this.#newFolders.clear();
      this.#watcher?.add(missed);
      for (const path of missed) if (!isIgnored(basename(path))) this.#note(path);
    });
  }

  #note(file: string): void {
    if (this.#stopped) return;
    const { clock, onChange } = this.options;
    if (this.#changed.size === 0) this.#since = clock.monotonic();
    this.#changed.add(file);
    this.#cancel();
    const left = this.#since + AT_MOST_MS - clock.monotonic();
    this.#cancel = clock.after(Math.max(0, Math.min(QUIET_MS, left)), () => {
      const changed = this.#changed;
      this.#changed = new Set();
      onChange(changed);
    });
  }
}

/** The file of a raw event: of a watched file or folder, with the name of what changed in it, or of a polled file. */
function fileOf(name: string | null | undefined, details: unknown): string | undefined {
  if (!name) return undefined;
  const { watchedPath } = details as { watchedPath?: string };
  if (watchedPath === undefined) return name;
  return basename(watchedPath) === name ? watchedPath : join(watchedPath, name);
}

/** Installed packages, and what editors and tools keep for themselves. */
function isIgnored(name: string): boolean {
  return name === "node_modules" || name.startsWith(".") || name.endsWith("~");
}

/** Says which symbolic links a watcher follows: it watches each folder once, and none that contains the link. */
class Links {
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
