/**
 * What a host is told to do that changes files, code or which workers run: it takes these on a topic of their own, so that
 * a broker's access list can keep them for authors.
 */
export const ADMIN_VERBS: ReadonlySet<string> = new Set([
  "configure",
  "reload",
  "rescan",
  "restart_worker",
  "start_worker",
  "stop_worker",
]);
