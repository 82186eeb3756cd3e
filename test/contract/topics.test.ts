import { describe, expect, test } from "vitest";
import { WorkerHostError } from "../../worker-host/contract/errors.ts";
import {
  assertKey,
  assertTarget,
  assertTopicFilter,
  assertTopicName,
  faultOfId,
  faultOfName,
  faultOfPrefix,
  isPeer,
  matchesFilter,
  Topics,
} from "../../worker-host/contract/topics.ts";

const TOO_LONG = "x".repeat(65_536);
/** 65,535 letters, but more bytes. */
const TOO_MANY_BYTES = "ä".repeat(32_768);

function faultOf(check: () => void): WorkerHostError {
  try {
    check();
  } catch (error) {
    if (error instanceof WorkerHostError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("matchesFilter", () => {
  // The examples of MQTT 3.1.1 and 5, 4.7.1.2, 4.7.1.3 and 4.7.2, then ours.
  test.each([
    ["sport/tennis/player1/#", "sport/tennis/player1", true],
    ["sport/tennis/player1/#", "sport/tennis/player1/ranking", true],
    ["sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true],
    ["sport/#", "sport", true],
    ["#", "sport/tennis", true],
    ["sport/tennis/+", "sport/tennis/player1", true],
    ["sport/tennis/+", "sport/tennis/player2", true],
    ["sport/tennis/+", "sport/tennis/player1/ranking", false],
    ["sport/+", "sport", false],
    ["sport/+", "sport/", true],
    ["+", "sport", true],
    ["+/tennis/#", "sport/tennis", true],
    ["+/tennis/#", "sport/tennis/player1", true],
    ["sport/+/player1", "sport/tennis/player1", true],
    ["+/+", "/finance", true],
    ["/+", "/finance", true],
    ["+", "/finance", false],
    ["#", "$SYS/broker/uptime", false],
    ["+/monitor/Clients", "$SYS/monitor/Clients", false],
    ["$SYS/#", "$SYS/monitor/Clients", true],
    ["$SYS/monitor/+", "$SYS/monitor/Clients", true],
    ["ACCOUNTS", "Accounts", false],
    ["/finance", "finance", false],
    ["Accounts payable", "Accounts payable", true],
    ["halloween/+/cmd", "halloween/fogger/cmd", true],
    ["halloween/+/cmd", "halloween/fogger/cmd/x", false],
    ["halloween/+/cmd", "halloween/cmd", false],
    ["halloween/fogger/cmd", "halloween/fogger", false],
    ["a", "a/b", false],
    ["$share/group/halloween/+/cmd", "halloween/fogger/cmd", true],
    ["$share/group/#", "halloween/fogger/cmd", true],
    ["$share/group/halloween/x/cmd", "halloween/fogger/cmd", false],
    ["$share/group/#", "$SYS/broker", false],
  ])("%s takes %s: %s", (filter, topic, expected) => {
    expect(matchesFilter(filter, topic)).toBe(expected);
  });
});

describe("ids", () => {
  test.each(["fogger", "grave_shaker", "a", "A-1", "7", "__proto__", "constructor", "cli2", "fogger_hw"])(
    "%s is one",
    (id) => {
      expect(faultOfId(id)).toBeUndefined();
      expect(() => assertTarget(id)).not.toThrow();
    },
  );

  test.each([
    ["my prop", '"my_prop"'],
    ["fog.machine", '"fog_machine"'],
    ["a/b", '"a_b"'],
    ["+", '"my_prop"'],
    ["#", '"my_prop"'],
    ["", '"my_prop"'],
    ["fogger\n", '"fogger"'],
    ["böse", '"b_se"'],
    ["👻", '"my_prop"'],
    ["../up", '"up"'],
    ["x".repeat(201), `"${"x".repeat(200)}"`],
  ])("%j is none, and %s would be", (id, suggestion) => {
    expect(faultOfId(id)).toContain(`"${id}" can't be an id`);
    expect(faultOfId(id)).toContain(`such as ${suggestion}`);
    expect(faultOf(() => assertTarget(id)).code).toBe("invalid_id");
  });

  test.each(["worker_host", "broadcast", "cli"])("%s is reserved", (id) => {
    expect(faultOfId(id)).toMatch(/is reserved .*such as "my_/);
    // Yet it is a topic's level that a command can go to: "broadcast stop".
    expect(() => assertTarget(id)).not.toThrow();
  });

  test("a host's own name is reserved under it, and nowhere else", () => {
    expect(faultOfId("attic", "attic")).toMatch(
      /is reserved \(worker_host, broadcast, cli, attic\).*such as "my_attic"/,
    );
    expect(faultOfId("worker_host", "attic")).toMatch(/is reserved/);
    expect(faultOfId("attic")).toBeUndefined();
  });

  test("what isn't even a text is refused, whatever the types say", () => {
    for (const id of [undefined, null, 7, {}, ["fogger"]]) {
      expect(() => assertTarget(id as string), String(id)).toThrow(WorkerHostError);
    }
  });
});

describe("hosts' names", () => {
  test.each(["worker_host", "attic", "north-2"])("%s is one", (name) => {
    expect(faultOfName(name)).toBeUndefined();
  });

  test.each(["", "broadcast", "cli", "the attic", "a/b", "+"])("%j is none", (name) => {
    expect(faultOfName(name)).toMatch(/^".*" can't be a host's name: write one .* such as "attic"/);
  });
});

describe("keys", () => {
  test.each(["temperature", "motor/left", "a b", "ä", "$x", "A.b-c_d"])("%s is one", (key) => {
    expect(() => assertKey(key)).not.toThrow();
  });

  test.each([
    ["", "empty"],
    ["/a", "empty level"],
    ["a/", "empty level"],
    ["a//b", "empty level"],
    ["a+", '"+"'],
    ["#", '"#"'],
    ["a\u0000", "control character"],
    ["a\nb", "control character"],
    ["a\uffff", "no character"],
    ["a/".repeat(40).concat("a"), "more than 40 levels"],
    [TOO_LONG, "longer"],
    [undefined, "undefined"],
    [42, "number"],
  ])("%j is none: %s", (key, word) => {
    const fault = faultOf(() => assertKey(key as string));
    expect(fault.code).toBe("invalid_topic");
    expect(fault.message).toContain(word);
    expect(fault.message).toContain('such as "temperature"');
  });
});

describe("prefixes", () => {
  test.each(["halloween", "haunt/2025", "a b", "ä", "x-1"])("%s is one", (prefix) => {
    expect(faultOfPrefix(prefix)).toBeUndefined();
  });

  test.each([
    ["", "empty"],
    ["/halloween", "starts or ends"],
    ["halloween/", "starts or ends"],
    ["a//b", "//"],
    ["halloween/#", '"#"'],
    ["+", '"+"'],
    ["$SYS", '"$"'],
    ["a\tb", "control character"],
    [TOO_MANY_BYTES, "longer"],
  ])("%j is none: %s", (prefix, word) => {
    expect(faultOfPrefix(prefix)).toContain(word);
  });
});

describe("topic names and filters", () => {
  test.each(["a", "a/b", "/", "/a", "a//b", "cmnd/tasmota/POWER", "$SYS/x", "a b", "x".repeat(65_535)])(
    "%j can be published to and subscribed to",
    (topic) => {
      expect(() => assertTopicName(topic)).not.toThrow();
      expect(() => assertTopicFilter(topic)).not.toThrow();
    },
  );

  test.each(["#", "+", "a/#", "+/b/#", "/+", "$share/g/a/+", "+/+"])("%s is a filter, no name", (filter) => {
    expect(() => assertTopicFilter(filter)).not.toThrow();
    expect(faultOf(() => assertTopicName(filter)).message).toContain("for subscriptions only");
  });

  test.each(["a+", "a/b#", "#/a", "a/#/b", "++", "a/+b/c", "##"])("%s is neither", (filter) => {
    expect(faultOf(() => assertTopicFilter(filter)).message).toContain("stands for a whole level");
    expect(() => assertTopicName(filter)).toThrow(WorkerHostError);
  });

  test.each(["", "a\u0000b", "a\u009fb", "a\rb", TOO_LONG, TOO_MANY_BYTES, undefined, null, {}, 3])(
    "%j is neither, whatever the types say",
    (topic) => {
      expect(faultOf(() => assertTopicName(topic as string)).code).toBe("invalid_topic");
      expect(faultOf(() => assertTopicFilter(topic as string)).code).toBe("invalid_topic");
    },
  );
});

test.each([
  ["board_hw", true],
  ["worker_host", true],
  ["x".repeat(100), true],
  ["x".repeat(101), false],
  ["broadcast", false],
  ["cli", false],
  ["a b", false],
  ["", false],
])("somebody can be there under the id %j: %s", (id, can) => {
  expect(isPeer(id)).toBe(can);
});

test("what can't even be printed is refused as an id, a topic, a filter and a key", () => {
  const checks = [assertTarget, assertTopicName, assertTopicFilter, assertKey] as ((given: unknown) => void)[];
  for (const check of checks) {
    for (const given of [Symbol("x"), { toString: 1 }, Object.create(null)]) {
      expect(faultOf(() => check(given)).code).toMatch(/^invalid_(id|topic)$/);
    }
  }
});

test("what makes mosquitto or the embedded broker end a connection can be neither named nor replied to", () => {
  // MQTT 3.1.1, 1.5.3 and MQTT 5, 4.8.2; 100 levels are the most that both take.
  const fine = "a/".repeat(99).concat("a");
  assertTopicName(fine);
  assertTopicFilter(fine);
  for (const [topic, word] of [
    ["x\ud800", "no character"],
    ["x\ufffe", "no character"],
    ["x\ufdd0", "no character"],
    ["x\u{1ffff}", "no character"],
    [`${fine}/a`, "more than 100 levels"],
  ] as const) {
    expect(faultOf(() => assertTopicName(topic)).message).toContain(word);
    expect(faultOf(() => assertTopicFilter(topic)).message).toContain(word);
    expect(new Topics("halloween").isReply(`halloween/cli/reply/${topic}`)).toBe(false);
  }
  for (const filter of ["$share", "$share/g", "$share/g/", "$share//a", "$share/+/a"]) {
    expect(faultOf(() => assertTopicFilter(filter)).message).toContain("write $share/<group>/<filter>");
  }
});

describe("Topics", () => {
  const topics = new Topics("haunt/2025", "north");

  test("builds every topic of the contract", () => {
    expect({
      command: topics.command("fogger"),
      broadcast: topics.broadcast,
      telemetry: topics.telemetry("fogger", "motor/left"),
      status: topics.status("fogger", "warn"),
      availability: topics.availability("fogger"),
      runstate: topics.runstate("fogger"),
      state: topics.state("fogger"),
      description: topics.description("fogger"),
      adminCommand: topics.adminCommand,
      uptime: topics.uptime,
      claim: topics.claim,
    }).toEqual({
      command: "haunt/2025/fogger/cmd",
      broadcast: "haunt/2025/broadcast/cmd",
      telemetry: "haunt/2025/fogger/telemetry/motor/left",
      status: "haunt/2025/fogger/status/warn",
      availability: "haunt/2025/fogger/status/availability",
      runstate: "haunt/2025/fogger/status/runstate",
      state: "haunt/2025/fogger/state",
      description: "haunt/2025/fogger/description",
      adminCommand: "haunt/2025/north/admin/cmd",
      uptime: "haunt/2025/north/uptime",
      claim: "haunt/2025/north/claim",
    });
    expect(new Topics("halloween").uptime).toBe("halloween/worker_host/uptime");
  });

  test.each([
    ["haunt/2025/fogger/cmd", "fogger"],
    ["haunt/2025/fogger", "fogger"],
    ["haunt/2025/a/status/availability", "a"],
    ["haunt/2025", undefined],
    ["haunt/2026/fogger/cmd", undefined],
    ["haunt/20255/fogger/cmd", undefined],
    ["halloween/fogger/cmd", undefined],
  ])("the id in %s is %s", (topic, id) => {
    expect(topics.idOf(topic)).toBe(id);
  });

  test("knows command topics, which are never retained", () => {
    expect(topics.isCommand("haunt/2025/fogger/cmd")).toBe(true);
    expect(topics.isCommand(topics.broadcast)).toBe(true);
    expect(topics.isCommand(topics.adminCommand)).toBe(true);
    expect(topics.isCommand("haunt/2025/attic/admin/cmd")).toBe(true);
    expect(topics.isCommand("haunt/2025/fogger/telemetry/cmd")).toBe(false);
    expect(topics.isCommand("halloween/fogger/cmd")).toBe(false);
  });

  test.each([
    ["haunt/2025/fogger/telemetry/motor/left", true],
    ["haunt/2025/fogger/status/warn", true],
    ["haunt/2025/fogger/status/availability", true],
    ["haunt/2025/fogger/state", true],
    ["haunt/2025/fogger/description", true],
    ["haunt/2025/fogger/status/runstate", false],
    ["haunt/2025/fogger/status/lock_out", false],
    ["haunt/2025/fogger/cmd", false],
    ["haunt/2025/fogger/reply/state", false],
    ["haunt/2025/fogger/constructor", false],
    ["haunt/2025/fogger", false],
    ["halloween/fogger/state", false],
  ])("%s is a prop's own word: %s", (topic, own) => {
    expect(topics.isOwnWord(topic)).toBe(own);
  });

  test("its filters take what they say", () => {
    expect(matchesFilter(topics.runstates, topics.runstate("fogger"))).toBe(true);
    expect(matchesFilter(topics.runstates, topics.availability("fogger"))).toBe(false);
    expect(matchesFilter(topics.availabilities, topics.availability("fogger"))).toBe(true);
    expect(matchesFilter(topics.availabilities, topics.runstate("fogger"))).toBe(false);
    for (const topic of [topics.command("fogger"), topics.state("fogger"), topics.telemetry("fogger", "a/b")]) {
      for (const filterOf of [topics.subtree, topics.wholeOf]) {
        expect(matchesFilter(filterOf.call(topics, "fogger"), topic), topic).toBe(true);
        expect(matchesFilter(filterOf.call(topics, "coffin"), topic), topic).toBe(false);
      }
    }
  });
});

test("a long id is refused in no time, and shown short", () => {
  const began = performance.now();
  const fault = faultOfId(`lock_out a${"_".repeat(60_000)}b! why`);
  expect(performance.now() - began).toBeLessThan(1_000);
  expect(fault?.length).toBeLessThan(1_000);
});
