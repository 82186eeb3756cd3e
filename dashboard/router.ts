import { signal } from "@preact/signals";

/** The screen that the page's address names: `#/props`, `#/prop/fogger`; `show` for any other. */
export type Screen = { name: "show" | "props" } | { name: "prop"; id: string };

/** Which screen is shown. Back and Forward go from one to the other, and send nothing. */
export class Router {
  readonly screen = signal<Screen>(screenOf(location.hash));
  /** How far down the list of props was, to come back to. */
  propsTop = 0;

  start(): void {
    addEventListener("hashchange", () => {
      this.screen.value = screenOf(location.hash);
      if (this.screen.value.name === "prop") scrollTo(0, 0);
    });
  }
}

export function addressOf(id: string): string {
  return `#/prop/${encodeURIComponent(id)}`;
}

function screenOf(hash: string): Screen {
  const [, id] = /^#\/prop\/([\w-]+)$/.exec(hash) ?? [];
  if (id !== undefined) return { name: "prop", id };
  return { name: hash === "#/props" ? "props" : "show" };
}
