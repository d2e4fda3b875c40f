// Waits for tasks and saves their clips: DUOMI_API_KEY=sk-... node wait.mjs FOLDER ID...
// Each task is handed out as it ends. The key is in the environment only, and no shell is in between.

import { spawn } from "node:child_process";
import { constants } from "node:os";
import { createInterface } from "node:readline";

const MEANINGS = {
  0: "done",
  1: "a task failed or was empty",
  2: "usage or configuration",
  3: "refused, unreachable, or not a task",
  4: "timed out or stalled: wait again with the same ids",
  5: "a clip was not saved: try again",
  130: "interrupted: wait again with the same ids",
  143: "terminated: wait again with the same ids",
};

// Calls `onEnd` with each task as it ends, and resolves to the exit code.
async function wait(folder, ids, onEnd) {
  // Windows tells all programs of a console of Ctrl-C itself; elsewhere a group of its own gets a signal once, from us.
  const isWindows = process.platform === "win32";
  const child = spawn("duomi", ["wait", "--json", "--download", folder, "--", ...ids], {
    stdio: ["ignore", "pipe", "inherit"],
    detached: !isWindows,
  });
  const ended = new Promise((resolve, reject) => {
    child.once("error", reject); // it cannot be started
    child.once("close", (code, signal) => resolve(code ?? 128 + constants.signals[signal]));
  });
  const pass = (signal) => isWindows || child.kill(signal);
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) process.on(signal, pass);
  try {
    const [code] = await Promise.all([ended, read(child.stdout, onEnd)]);
    return code;
  } finally {
    for (const signal of signals) process.off(signal, pass);
    child.kill(); // after an error of `onEnd`; otherwise it has ended
  }
}

async function read(stdout, onEnd) {
  for await (const line of createInterface({ input: stdout })) await onEnd(JSON.parse(line));
}

const [folder, ...ids] = process.argv.slice(2);
if (ids.length === 0) {
  console.error("usage: node wait.mjs FOLDER ID...");
  process.exit(2);
}
try {
  process.exitCode = await wait(folder, ids, (task) => {
    console.log(task.task_id, task.error ? `${task.error.type}: ${task.error.message}` : task.paths.join(" "));
  });
  console.error(MEANINGS[process.exitCode] ?? "killed");
} catch (error) {
  console.error(error.code === "ENOENT" ? 'duomi is not installed: pip install "duomi[cli]"' : error);
  process.exitCode = 2;
}
