/** Starts the page: the core first, since it takes an invite's key out of the address before anything else happens. */

import { mount } from "svelte";
import { startApp } from "./app.ts";
import { SUPPORTED_BROWSERS } from "./core/unsupported.ts";
import { Navigation } from "./ui/navigation.svelte.ts";
import Root from "./ui/Root.svelte";
import "./ui/styles/tokens.css";
import "./ui/styles/base.css";
import "./ui/styles/controls.css";
import { startTheme } from "./ui/theme.ts";
import { followViewport } from "./ui/viewport.ts";

const { view, actions } = startApp();

startTheme();
followViewport();

const target = document.querySelector("#app");
if (target === null) throw new Error("index.html has no #app");
mount(Root, { target, props: { view, actions, navigation: new Navigation(), browsers: SUPPORTED_BROWSERS } });
