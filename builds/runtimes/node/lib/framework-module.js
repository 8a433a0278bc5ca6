// The stand-in for functions-framework, as modules import it; `framework-hook.js` leads them here.

import standIn from "./framework.cjs";

export const { http, cloudEvent, event, typed } = standIn.framework;
export default standIn.framework;
