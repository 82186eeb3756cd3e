import { Component, type ComponentChildren } from "preact";
import { availabilityOf } from "../worker-host/contract/prop.ts";
import { Age, spanOf } from "./controls/age.tsx";
import type { Parts } from "./parts.ts";
import { AllStop } from "./screens/all-stop.tsx";
import { Prop } from "./screens/prop.tsx";
import { Props } from "./screens/props.tsx";
import { Show } from "./screens/show.tsx";

/** All but the stop bar, which is a tree of its own: no fault in here takes it away. */
export function App(parts: Parts) {
  const { store, link, router } = parts;
  const lost = link.lostSince.value !== undefined;
  const screen = router.screen.value;
  return (
    <Boundary>
      <div class={lost ? "page lost" : "page"}>
        <Header {...parts} />
        <main>
          {(store.allStop.value ?? store.blocked.value === undefined) && <AllStop {...parts} />}
          {screen.name === "show" && <Show {...parts} />}
          {screen.name === "props" && <Props {...parts} />}
          {screen.name === "prop" && <Prop key={screen.id} id={screen.id} {...parts} />}
        </main>
      </div>
    </Boundary>
  );
}

/** The link, the broker and the host: how they are, or the worst that is wrong with them, in large. */
function Header({ store, link, router }: Parts) {
  const lostSince = link.lostSince.value;
  const screen = router.screen.value.name;
  const { device, role } = link.hello.value ?? {};
  const host = availabilityOf(store.valuesOf(store.hostId));
  const banner =
    lostSince !== undefined ? (
      <span>
        {link.restarting.value ? "RESTARTING" : "NO LINK"} {spanOf(Math.max(store.now.value, lostSince) - lostSince)}:
        nothing below is sure
      </span>
    ) : store.broker.value === false ? (
      <span>BROKER AWAY: nothing below is sure</span>
    ) : host?.online === false ? (
      <span>
        HOST OFFLINE <Age said={host.said} store={store} />
      </span>
    ) : undefined;
  return (
    <header>
      <nav>
        <a href="#/" aria-current={screen === "show" ? "page" : undefined}>
          Show
        </a>
        <a href="#/props" aria-current={screen === "show" ? undefined : "page"}>
          {screen === "prop" ? "‹ Props" : "Props"}
        </a>
      </nav>
      {banner ? (
        <p class="banner" role="alert">
          {banner}
        </p>
      ) : (
        <p class="link">
          {device !== undefined && `${device}, ${role} · `}
          {store.hostId} · live, {Math.ceil(link.roundTripMs.value ?? 0)} ms
        </p>
      )}
    </header>
  );
}

/** Shows what a screen threw, in place of it. */
class Boundary extends Component<{ children: ComponentChildren }, { error?: Error }> {
  static override getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    return <p class="banner">This page has failed: {error.message}. Load it again; ALL STOP works.</p>;
  }
}
