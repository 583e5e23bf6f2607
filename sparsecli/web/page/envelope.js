// The envelope that an atom's modes and its noise share, E(u) exp(-d u) with E(u) = (1 - exp(-u / attack))^2.

export const SILENT_DB = -200; // an unused slot
export const NEPERS_PER_T60 = Math.log(1000);
const SUPPORT_DB = 80; // an atom ends where it is this far under its peak

export function amplitudeOf(db) {
  return 10 ** (db / 20);
}

// The maximum of the envelope. With z = attack d it is (2 / (2 + z))^2 (z / (2 + z))^z, at u = attack ln(1 + 2 / z).
export function envelopePeak(attackS, decayS) {
  const z = (attackS * NEPERS_PER_T60) / Math.max(decayS, 1e-9);
  return (2 / (2 + z)) ** 2 * Math.exp(-z * Math.log1p(2 / Math.max(z, 1e-12)));
}

// Seconds from the onset until the envelope stays `fallDb` under its peak.
export function supportS(attackS, decayS, fallDb = SUPPORT_DB) {
  const peak = Math.max(envelopePeak(attackS, decayS), 1e-30);
  return (((fallDb * Math.LN10) / 20 - Math.log(peak)) * decayS) / NEPERS_PER_T60;
}

// The value of the envelope `u` seconds after the onset.
export function envelopeAt(u, attackS, decayS) {
  return u <= 0 ? 0 : Math.expm1(-u / attackS) ** 2 * Math.exp((-NEPERS_PER_T60 / decayS) * u);
}
