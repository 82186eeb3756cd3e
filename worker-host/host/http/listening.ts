import type { MessageHandler, Wire } from "../../mqtt/wire.ts";

/** Subscribes; the function that it gives ends that: at once, or when it is granted. */
export function listen(wire: Pick<Wire, "subscribe">, filter: string, handler: MessageHandler): () => void {
  let over = false;
  let unsubscribe: (() => void) | undefined;
  void wire.subscribe(filter, handler).then((end) => {
    if (over) end();
    else unsubscribe = end;
  });
  return () => {
    over = true;
    unsubscribe?.();
  };
}
