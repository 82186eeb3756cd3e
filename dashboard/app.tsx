import { Component, type ComponentChildren } from "preact";
import { availabilityOf } from "../worker-host/contract/prop.ts";
import { Age, spanOf } from "./controls/age.tsx";
import type { Link } from "./link.ts";
import { AllStop } from "./screens/all-stop.tsx";
import { Props } from "./screens/props.tsx";
import type { Store } from "./store.ts";

/** All but the stop bar, which is a tree of its own: no fault in here takes it away. */
export function App({ store, link }: { store: Store; link: Link }) {
  const lost = link.lostSince.value !== undefined;
  return (
    <Boundary>
      <div class={lost ? "page lost" : "page"}>
        <Header store={store} link={link} />
        {store.allStop.value && <AllStop store={store} link={link} />}
        <Props store={store} link={link} />
      </div>
    </Boundary>
  );
}

/** The link, the broker and the host: how they are, or the worst that is wrong with them, in large. */
function Header({ store, link }: { store: Store; link: Link }) {
  const lostSince = link.lostSince.value;
  const host = availabilityOf(store.valuesOf(store.hostId));
  const banner =
    lostSince !== undefined ? (
      <span>NO LINK {spanOf(Math.max(store.now.value, lostSince) - lostSince)}: nothing below is sure</span>
    ) : !store.broker.value ? (
      <span>BROKER AWAY: nothing below is sure</span>
    ) : host?.online === false ? (
      <span>
        HOST OFFLINE <Age said={host.said} store={store} />
      </span>
    ) : undefined;
  return (
    <header>
      {banner ? (
        <p class="banner" role="alert">
          {banner}
        </p>
      ) : (
        <p class="link">
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
