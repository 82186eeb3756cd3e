import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

/** How far a press has come; `words` say what came of it. */
type Phase = { name: "idle" | "holding" | "sent"; words?: undefined } | { name: "done" | "refused"; words: string };

export interface PressButtonProps {
  label: string;
  /** What it does, in words, where that is more than the label. */
  about?: string;
  /** How long it has to be held; 0: it fires at a tap. */
  holdMs: 0 | 600 | 2000;
  /** Why it can't be pressed, in words. */
  why: string | undefined;
  /** Why what is to be sent can't be, in words: asked when it is held for long enough. Such a press was none. */
  fault?: () => string | undefined;
  /** Sends what it is for; `pressedAt` is the moment of the press by this page's clock. Gives what came of it, or rejects with why not, in words. */
  fire: (pressedAt: number) => Promise<unknown>;
}

interface Hold {
  since: number;
  cancel: () => void;
}

/** Two presses that are nearer are one. */
const TWICE_MS = 500;
/** A page that stood still does not know whether the finger is still there. */
const LATE_MS = 250;

/** A button that shows in itself what becomes of a press. It fires from a person's own event only. */
export function PressButton({ label, about, holdMs, why, fault, fire }: PressButtonProps) {
  const phase = useSignal<Phase>({ name: "idle" });
  const hold = useRef<Hold | undefined>(undefined);
  const firedAt = useRef(Number.NEGATIVE_INFINITY);
  const letGo = () => {
    hold.current?.cancel();
    hold.current = undefined;
    if (phase.value.name === "holding") phase.value = { name: "idle" };
  };
  // What can't be pressed any more, or is no longer on the screen, is let go.
  useEffect(() => (why === undefined ? letGo : letGo()), [why]);
  useEffect(() => {
    const events = ["blur", "pagehide"] as const;
    for (const event of events) addEventListener(event, letGo);
    document.addEventListener("visibilitychange", letGo);
    return () => {
      for (const event of events) removeEventListener(event, letGo);
      document.removeEventListener("visibilitychange", letGo);
    };
  }, []);

  const isFree = (at: number) => why === undefined && phase.value.name !== "sent" && at - firedAt.current >= TWICE_MS;
  const send = (pressedAt: number) => {
    const refusal = fault?.();
    if (refusal !== undefined) {
      phase.value = { name: "refused", words: refusal };
      return;
    }
    firedAt.current = pressedAt;
    phase.value = { name: "sent" };
    fire(pressedAt).then(
      (result) => {
        phase.value = { name: "done", words: typeof result === "string" ? result : "done" };
      },
      (error: Error) => {
        phase.value = { name: "refused", words: error.message };
      },
    );
  };
  const begin = (event: Event) => {
    const since = event.timeStamp;
    if (!event.isTrusted || hold.current || !isFree(since)) return;
    phase.value = { name: "holding" };
    const timer = setTimeout(
      () => {
        hold.current = undefined;
        const due = since + holdMs;
        if (performance.now() - due > LATE_MS)
          phase.value = { name: "refused", words: "the page stood still; press again" };
        else send(due);
      },
      Math.max(0, since + holdMs - performance.now()),
    );
    hold.current = { since, cancel: () => clearTimeout(timer) };
  };

  const handlers =
    holdMs === 0
      ? {
          onClick: (event: MouseEvent) => {
            if (event.isTrusted && isFree(event.timeStamp)) send(event.timeStamp);
          },
          // A key that is held down presses once.
          onKeyDown: (event: KeyboardEvent) => {
            if (event.repeat) event.preventDefault();
          },
        }
      : {
          onPointerDown: (event: PointerEvent) => {
            if (event.button === 0) begin(event);
          },
          onPointerUp: letGo,
          onPointerCancel: letGo,
          onPointerLeave: letGo,
          // A finger that slides off leaves nothing: its events stay with the button.
          onPointerMove: (event: PointerEvent) => {
            const { left, right, top, bottom } = (event.currentTarget as Element).getBoundingClientRect();
            const { clientX: x, clientY: y } = event;
            if (x < left || x > right || y < top || y > bottom) letGo();
          },
          onBlur: letGo,
          onContextMenu: (event: Event) => event.preventDefault(),
          onKeyDown: (event: KeyboardEvent) => {
            if (event.key !== "Enter" && event.key !== " ") return;
            event.preventDefault();
            if (!event.repeat) begin(event);
          },
          onKeyUp: letGo,
        };
  const { name, words } = phase.value;
  const shown = why === undefined ? name : "dead";
  const line = why ?? words ?? waitingWords(name, holdMs);
  return (
    <button
      type="button"
      class="press"
      data-phase={shown}
      data-hold={holdMs}
      aria-disabled={why !== undefined}
      {...handlers}
    >
      {holdMs > 0 && (
        <svg class="ring" viewBox="0 0 40 40" aria-hidden="true">
          <circle cx="20" cy="20" r="16" pathLength="100" />
          <circle class="fill" cx="20" cy="20" r="16" pathLength="100" />
        </svg>
      )}
      <span class="words">
        <span class="label">{label}</span>
        {about !== undefined && <span class="about">{about}</span>}
        <span class="line" aria-live="polite">
          {line}
        </span>
      </span>
    </button>
  );
}

function waitingWords(name: Phase["name"], holdMs: number): string {
  if (name === "sent") return "sent";
  if (name === "holding") return "holding";
  return holdMs === 0 ? "tap" : holdMs < 1000 ? "hold" : `hold ${holdMs / 1000} s`;
}
