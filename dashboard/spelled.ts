import { options } from "preact";
import { printableLines } from "../worker-host/contract/payload.ts";

/** From now on each text on the page is spelled out: no sign in it hides, or turns the writing around, whoever sent it. */
export function spellTexts(): void {
  const next = options.vnode;
  options.vnode = (node) => {
    const props = node.props as { children?: unknown };
    if (props.children !== undefined) props.children = spelled(props.children);
    next?.(node);
  };
}

function spelled(children: unknown): unknown {
  if (typeof children === "string") return printableLines(children);
  return Array.isArray(children) ? children.map(spelled) : children;
}
