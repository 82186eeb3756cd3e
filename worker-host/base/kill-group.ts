/** Signals a process group: a process that leads one, and all that it started. Gives whether that was permitted. */
export function killGroup(pid: number, signal: NodeJS.Signals = "SIGKILL"): boolean {
  // -1 would be every process of the user, and 0 one's own group.
  if (!Number.isSafeInteger(pid) || pid <= 1) throw new Error(`unreachable: ${pid} is no process group of ours`);
  try {
    process.kill(-pid, signal);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // It runs as another user.
    if (code === "EPERM") return false;
    // Nobody is left in it.
    if (code === "ESRCH") return true;
    throw error;
  }
}
