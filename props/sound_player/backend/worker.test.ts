import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type StartWorkerOptions, startWorker } from "worker-host/testing";
import { Worker } from "./worker.ts";

async function start(options: StartWorkerOptions = {}) {
  const worker = await startWorker(Worker, { id: "sound_player", ...options });
  onTestFinished(() => worker.stop());
  return worker;
}

/** A player that says what it plays and, for `endless`, doesn't end. */
const PLAYER = "#!/bin/sh\necho playing $1\ncase $1 in *endless*) sleep 1000;; esac\n";

async function startPlayer(sounds: Record<string, string>) {
  const folder = await mkdtemp(join(tmpdir(), "sound-player-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const player = join(folder, "player");
  await writeFile(player, PLAYER, { mode: 0o755 });
  return start({ dir: folder, config: { player, player_args: [], sounds } });
}

test("play plays the file that the config gives that name", async () => {
  const player = await startPlayer({ howl: "howl.wav" });
  expect(await player.state()).toBe("idle");
  await player.call("play", "howl");
  expect([await player.state(), await player.telemetry("playing")]).toEqual(["playing", "howl"]);
  expect([await player.state(), await player.telemetry("playing")]).toEqual(["idle", ""]);
});

test("a new sound takes the place of one that plays, and stop ends it", async () => {
  const player = await startPlayer({ endless: "endless.wav", howl: "howl.wav" });
  await player.send("play endless");
  expect(await player.telemetry("playing")).toBe("endless");
  await player.call("play", "howl");
  expect(await player.telemetry("playing")).toBe("howl");
  expect(await player.telemetry("playing")).toBe("");
  const ended = expect(player.call("play", "endless")).rejects.toThrow(/aborted/);
  expect(await player.telemetry("playing")).toBe("endless");
  await player.send("stop");
  expect(await player.telemetry("playing")).toBe("");
  await ended;
  expect(player.messages.findLast(({ topic }) => topic.endsWith("/state"))?.text).toBe("idle");
});

test("a name that is none, a path, and a player that is not there are told", async () => {
  const player = await startPlayer({ howl: "howl.wav" });
  for (const name of ["../../etc/passwd", "constructor", "__proto__", ""]) {
    await expect(player.call("play", name)).rejects.toThrow(`there is no sound "${name}"; there are: howl`);
  }
  const without = await start({ config: { player: "no-such-player", sounds: { howl: "howl.wav" } } });
  await expect(without.call("play", "howl")).rejects.toThrow(/there is no program "no-such-player" on this machine/);
});
