import { useEffect } from "preact/hooks";
import { spanOf } from "./controls/age.tsx";
import type { Link } from "./link.ts";
import type { StopSwitch } from "./stop-switch.ts";
import type { Store } from "./store.ts";

const PHASES: ReadonlyMap<boolean | undefined, string> = new Map([
  [true, "engaged"],
  [false, "ready"],
  [undefined, "unknown"],
]);

/** All-stop: at the bottom of every screen, at touch-down, without a question. */
export function StopBar({ store, link, stop }: { store: Store; link: Link; stop: StopSwitch }) {
  const press = (event: Event) => {
    if (event.isTrusted) stop.press(event.timeStamp);
  };
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape" && !event.repeat) press(event);
    };
    addEventListener("keydown", onKey, { capture: true });
    return () => removeEventListener("keydown", onKey, { capture: true });
  }, []);
  const pressedAt = stop.pressedAt.value;
  const phase = pressedAt !== undefined ? "unconfirmed" : PHASES.get(store.allStop.value);
  return (
    <button
      type="button"
      class="stop-bar"
      data-phase={phase}
      onPointerDown={press}
      onKeyDown={(event) => {
        if ((event.key === "Enter" || event.key === " ") && !event.repeat) press(event);
      }}
      // What a screen reader presses has no pointer, and is no key.
      onClick={(event) => {
        if (event.detail === 0 && pressedAt === undefined) press(event);
      }}
      onContextMenu={(event) => event.preventDefault()}
    >
      <span class="stop-word">ALL STOP</span>
      <span class="stop-line" aria-live="assertive">
        {phase === "unconfirmed" &&
          `${link.restarting.value ? "RESTARTING, not yet confirmed" : "NOT CONFIRMED"} ${spanOf(Math.max(0, store.now.value - (pressedAt ?? 0)))}`}
        {phase === "engaged" && "ENGAGED"}
        {phase === "unknown" && "not known whether it is engaged"}
      </span>
    </button>
  );
}
