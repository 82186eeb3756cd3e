import fc from "fast-check";

// Otherwise each run has another one.
const { PROPERTIES_SEED } = process.env;
if (PROPERTIES_SEED) fc.configureGlobal({ seed: Number(PROPERTIES_SEED) });
