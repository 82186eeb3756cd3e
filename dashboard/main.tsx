import { render } from "preact";
import { App } from "./app.tsx";
import { Link } from "./link.ts";
import "./page.css";
import { Router } from "./router.ts";
import { spellTexts } from "./spelled.ts";
import { StopBar } from "./stop-bar.tsx";
import { StopSwitch } from "./stop-switch.ts";
import { Store } from "./store.ts";

const link: Link = new Link({ onUp: () => stop.send(), onUpdate: (update) => store.take(update) });
const store = new Store(link);
const stop = new StopSwitch(link, store);
const router = new Router();

function show(what: Parameters<typeof render>[0], id: string): void {
  const place = document.getElementById(id);
  if (place) render(what, place);
}

spellTexts();
show(<StopBar store={store} link={link} stop={stop} />, "stop");
show(<App store={store} link={link} router={router} />, "app");
store.start();
router.start();
link.start();
