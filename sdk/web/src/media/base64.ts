/** Standard base64 of bytes that are few enough for a catalog. */
export function encodeBase64(bytes: Uint8Array): string {
  return btoa(bytes.reduce((binary, byte) => binary + String.fromCharCode(byte), ""));
}
