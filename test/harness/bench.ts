import { startBroker, type TestBroker } from "./broker.ts";
import { TestClient } from "./client.ts";
import { type Board, type BoardOptions, startBoard } from "./sketch.ts";

export const VALVE = 26;
export const PUMP = 26;
export const READY = 27;
export const COFFIN = "coffin_jumper_hw";
export const FOGGER = "fogger_hw";

export interface Bench {
  broker: TestBroker;
  client: TestClient;
  board: Board;
}

/** The coffin's board, armed. */
export async function startCoffin(options: Partial<BoardOptions> = {}): Promise<Bench> {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const board = startBoard("coffin_jumper", { broker, ...options });
  await client.expect(`halloween/${COFFIN}/status/availability`, "online");
  await client.command(COFFIN, "arm");
  await client.expect(`halloween/${COFFIN}/state`, "armed");
  return { broker, client, board };
}

/** The fogger's board, warm. */
export async function startFogger(options: Partial<BoardOptions> = {}): Promise<Bench> {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const board = startBoard("fogger", { broker, inputs: { [READY]: 0 }, ...options });
  await client.expect(`halloween/${FOGGER}/state`, "idle");
  return { broker, client, board };
}

/** The valve is open. */
export async function jump({ client, board }: Bench, ms = 5000): Promise<void> {
  const opened = board.pinTurns(VALVE, 1);
  await client.command(COFFIN, `jump ${ms}`);
  await opened;
}

/** The pump is on. */
export async function fog({ client, board }: Bench, ms = 10_000): Promise<void> {
  const on = board.pinTurns(PUMP, 1);
  await client.command(FOGGER, `start ${ms}`);
  await on;
}
