/** Which workers of one kind run: none, else those allowed, else all but the disabled. */
export interface Selection {
  disableAll: boolean;
  allow: readonly string[];
  disable: readonly string[];
}

export interface SelectOptions {
  selectProps: Selection;
  selectBuiltins: Selection;
}

interface Selectable {
  id: string;
  /** For an instance, the folder of its class, which selects it too. */
  classId: string;
  kind: "props" | "builtins";
  /** Why it is not to run. */
  skipped?: string;
}

/** Says of each worker whether the settings let it run, and of the settings what names nobody. */
export function select<T extends Selectable>(
  workers: T[],
  { selectProps, selectBuiltins }: SelectOptions,
): { chosen: T[]; warnings: string[] } {
  const selections = { props: selectProps, builtins: selectBuiltins };
  const chosen = workers.map((worker) => {
    const skipped = worker.skipped ?? reason(worker, selections[worker.kind]);
    return skipped === undefined ? worker : { ...worker, skipped };
  });
  return {
    chosen,
    warnings: [...missing("props", selectProps, workers), ...missing("builtins", selectBuiltins, workers)],
  };
}

function reason({ id, classId, kind }: Selectable, { disableAll, allow, disable }: Selection): string | undefined {
  const named = (names: readonly string[]) => names.includes(id) || names.includes(classId);
  if (disableAll) return `WORKER_DISABLE_ALL_${kind.toUpperCase()} is set`;
  if (allow.length > 0) return named(allow) ? undefined : `not in WORKER_${kind.toUpperCase()}_ALLOW`;
  return named(disable) ? `in WORKER_${kind.toUpperCase()}_DISABLE` : undefined;
}

function missing(kind: Selectable["kind"], { allow, disable }: Selection, workers: Selectable[]): string[] {
  const known = new Set(workers.filter((one) => one.kind === kind).flatMap(({ id, classId }) => [id, classId]));
  const names = [
    ...allow.map((name) => ({ name, list: "ALLOW" })),
    ...disable.map((name) => ({ name, list: "DISABLE" })),
  ];
  return names
    .filter(({ name }) => !known.has(name))
    .map(
      ({ name, list }) =>
        `WORKER_${kind.toUpperCase()}_${list}: there is no "${name}"; there are: ${[...known].join(", ") || "none"}`,
    );
}
