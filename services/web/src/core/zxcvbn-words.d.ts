/** The package's word lists one by one; its own types know only all of them together. */
declare module "@zxcvbn-ts/language-en/dist/*.json.mjs" {
  const words: string[];
  export default words;
}
