/** Session close codes of MoQT-18 (IANA "Session Termination Error Codes") that this client raises or decides by. */
export const SessionCode = {
  NoError: 0x0,
  Unauthorized: 0x2,
  ProtocolViolation: 0x3,
  InvalidPath: 0x8,
  MalformedAuthToken: 0x16,
  ExpiredAuthToken: 0x18,
  InvalidAuthority: 0x19,
} as const;
export type SessionCode = (typeof SessionCode)[keyof typeof SessionCode];

/** Bytes that break the draft's rules: the session that sent them has to be closed with `code`. */
export class WireError extends Error {
  override readonly name = "WireError";
  readonly code: SessionCode;

  constructor(message: string, code: SessionCode = SessionCode.ProtocolViolation) {
    super(message);
    this.code = code;
  }
}
