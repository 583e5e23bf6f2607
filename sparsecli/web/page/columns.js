// Where the numbers of an event stand in its row.

export const MODES = 4;
export const ONSET = 0;
export const ATTACK = 1;
export const DECAY = 2;
export const NOISE_LEVEL = 15;
export const PAN = 16; // of events in two channels alone; in one, `wet` may stand there
export const NOISE_FREQ = 12; // slot 4 holds the centre of the noise too

export function freqColumn(slot) {
  return 3 + 3 * slot;
}

export function levelColumn(slot) {
  return 4 + 3 * slot;
}

export function phaseColumn(slot) {
  return 5 + 3 * slot;
}

// Least and greatest value of each column, as an events file allows them; the limits of what an edit does.
export const MIN_ONSET_S = -2;
export const MAX_ONSET_S = 86400;
export const MIN_ATTACK_S = 2e-4;
export const MAX_ATTACK_S = 10;
export const MIN_DECAY_S = 1e-3; // a shorter one is not heard; the file would allow it
export const MAX_DECAY_S = 600;
export const MAX_FREQ_HZ = 192000;
export const MAX_LEVEL_DB = 60;
