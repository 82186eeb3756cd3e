/**
 * Pairs this device by the code of its link, which stands behind `#`, and goes on to the page. Without one there is only the
 * text that says how it is done.
 */
async function pair(code: string): Promise<void> {
  const words = document.getElementById("words");
  const say = (text: string) => {
    if (words) words.textContent = text;
  };
  say("pairing …");
  // No history has it.
  history.replaceState(null, "", "/pair");
  try {
    const answer = await fetch("/api/pair", { method: "POST", body: JSON.stringify({ code }) });
    if (answer.ok) location.replace("/");
    else say(((await answer.json()) as { error: string }).error);
  } catch {
    say("there is no link to the server: open the link again");
  }
}

const code = location.hash.slice(1);
if (location.pathname === "/pair" && code !== "") void pair(code);

export {};
