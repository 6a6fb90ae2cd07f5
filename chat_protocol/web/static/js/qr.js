/**
 * QR codes (ISO/IEC 18004): byte mode, error correction level L, versions 1 to 10. That is enough for
 * a link of 271 bytes.
 */

/** By version: error correction codewords of each block, and data codewords of all blocks. */
const BLOCKS = [
  null, [7, [19]], [10, [34]], [15, [55]], [20, [80]], [26, [108]], [18, [68, 68]],
  [20, [78, 78]], [24, [97, 97]], [30, [116, 116]], [18, [68, 68, 69, 69]],
];

/** By version: rows and columns of the centers of alignment patterns. */
const ALIGNMENT = [
  null, [], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46],
  [6, 28, 50],
];

const MASKS = [
  (row, column) => (row + column) % 2,
  (row) => row % 2,
  (row, column) => column % 3,
  (row, column) => (row + column) % 3,
  (row, column) => (Math.floor(row / 2) + Math.floor(column / 3)) % 2,
  (row, column) => ((row * column) % 2) + ((row * column) % 3),
  (row, column) => (((row * column) % 2) + ((row * column) % 3)) % 2,
  (row, column) => (((row + column) % 2) + ((row * column) % 3)) % 2,
];

/** Exponents and logarithms of the field GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1. */
const EXP = new Uint8Array(510);
const LOG = new Uint8Array(256);
for (let exponent = 0, value = 1; exponent < 255; exponent += 1) {
  EXP[exponent] = EXP[exponent + 255] = value;
  LOG[value] = exponent;
  value = (value << 1) ^ (value & 0x80 ? 0x11d : 0);
}

const times = (one, other) => (one && other ? EXP[LOG[one] + LOG[other]] : 0);

/** Return the rows of the QR code of a text, each an array of booleans; null if it is too long. */
export function qrCode(text) {
  const bytes = new TextEncoder().encode(text);
  const version = BLOCKS.findIndex((one, index) => one && capacity(index) >= bytes.length);
  if (version < 0) return null;
  const codewords = interleave(version, dataCodewords(version, bytes));
  let best = null;
  for (let mask = 0; mask < MASKS.length; mask += 1) {
    const matrix = draw(version, codewords, mask);
    const penalty = penaltyOf(matrix);
    if (!best || penalty < best.penalty) best = { matrix, penalty };
  }
  return best.matrix;
}

const countBits = (version) => (version < 10 ? 8 : 16);
const total = (version) => BLOCKS[version][1].reduce((sum, one) => sum + one, 0);
const capacity = (version) => Math.floor((total(version) * 8 - 4 - countBits(version)) / 8);

function dataCodewords(version, bytes) {
  const bits = [];
  const put = (value, count) => {
    for (let at = count - 1; at >= 0; at -= 1) bits.push((value >> at) & 1);
  };
  put(4, 4);
  put(bytes.length, countBits(version));
  for (const byte of bytes) put(byte, 8);
  const size = total(version) * 8;
  put(0, Math.min(4, size - bits.length));
  put(0, (8 - (bits.length % 8)) % 8);
  for (let pad = 0xec; bits.length < size; pad ^= 0xec ^ 0x11) put(pad, 8);
  return Array.from({ length: size / 8 }, (_, at) => parseInt(bits.slice(at * 8, at * 8 + 8).join(""), 2));
}

/** Return the remainder of a block, which corrects errors in it. */
function correction(block, count) {
  let generator = [1];
  for (let root = 0; root < count; root += 1) {
    const next = [...generator, 0];
    generator.forEach((one, at) => (next[at + 1] ^= times(one, EXP[root])));
    generator = next;
  }
  const rest = [...block, ...new Array(count).fill(0)];
  for (let at = 0; at < block.length; at += 1) {
    const factor = rest[at];
    generator.forEach((one, shift) => (rest[at + shift] ^= times(one, factor)));
  }
  return rest.slice(block.length);
}

function interleave(version, data) {
  const [count, sizes] = BLOCKS[version];
  let start = 0;
  const blocks = sizes.map((size) => data.slice(start, (start += size)));
  const longest = Math.max(...sizes);
  const columns = (rows, width) =>
    Array.from({ length: width }, (_, at) => rows.map((row) => row[at])).flat().filter((one) => one !== undefined);
  return [...columns(blocks, longest), ...columns(blocks.map((one) => correction(one, count)), count)];
}

function draw(version, codewords, mask) {
  const size = version * 4 + 17;
  const matrix = Array.from({ length: size }, () => new Array(size).fill(undefined));
  const set = (row, column, value) => {
    if (row >= 0 && column >= 0 && row < size && column < size) matrix[row][column] = Boolean(value);
  };
  for (const [top, left] of [[0, 0], [0, size - 7], [size - 7, 0]]) finder(set, top, left);
  for (let at = 8; at < size - 8; at += 1) {
    set(6, at, at % 2 === 0);
    set(at, 6, at % 2 === 0);
  }
  const centers = ALIGNMENT[version];
  for (const row of centers) {
    for (const column of centers) if (!isInFinder(row, column, size)) alignment(set, row, column);
  }
  format(set, size, mask);
  if (version >= 7) versionInformation(set, size, version);
  fill(matrix, codewords, MASKS[mask]);
  return matrix;
}

function finder(set, top, left) {
  for (let row = -1; row <= 7; row += 1) {
    for (let column = -1; column <= 7; column += 1) {
      const distance = Math.max(Math.abs(row - 3), Math.abs(column - 3));
      set(top + row, left + column, distance !== 2 && distance !== 4);
    }
  }
}

const isInFinder = (row, column, size) =>
  (row < 9 && column < 9) || (row < 9 && column > size - 10) || (row > size - 10 && column < 9);

function alignment(set, centerRow, centerColumn) {
  for (let row = -2; row <= 2; row += 1) {
    for (let column = -2; column <= 2; column += 1) {
      set(centerRow + row, centerColumn + column, Math.max(Math.abs(row), Math.abs(column)) !== 1);
    }
  }
}

/** Return a number with the remainder of its division by a generator polynomial behind it. */
function withRemainder(value, generator, bits) {
  let rest = value << bits;
  for (let at = 31 - Math.clz32(rest); at >= bits; at -= 1) {
    if ((rest >> at) & 1) rest ^= generator << (at - bits);
  }
  return (value << bits) | rest;
}

function format(set, size, mask) {
  // Level L is 01.
  const bits = withRemainder((1 << 3) | mask, 0x537, 10) ^ 0x5412;
  const bit = (at) => (bits >> at) & 1;
  for (let at = 0; at < 6; at += 1) set(at, 8, bit(at));
  set(7, 8, bit(6));
  set(8, 8, bit(7));
  set(8, 7, bit(8));
  for (let at = 9; at < 15; at += 1) set(8, 14 - at, bit(at));
  for (let at = 0; at < 8; at += 1) set(8, size - 1 - at, bit(at));
  for (let at = 8; at < 15; at += 1) set(size - 15 + at, 8, bit(at));
  set(size - 8, 8, true);
}

function versionInformation(set, size, version) {
  const bits = withRemainder(version, 0x1f25, 12);
  for (let at = 0; at < 18; at += 1) {
    const [far, near] = [size - 11 + (at % 3), Math.floor(at / 3)];
    set(near, far, (bits >> at) & 1);
    set(far, near, (bits >> at) & 1);
  }
}

/** Fill what is free with the codewords, in columns of two from the right, upwards and downwards. */
function fill(matrix, codewords, mask) {
  const size = matrix.length;
  let at = 0;
  for (let right = size - 1; right > 0; right -= 2) {
    if (right === 6) right = 5;
    const isUpward = ((right + 1) & 2) === 0;
    for (let step = 0; step < size; step += 1) {
      const row = isUpward ? size - 1 - step : step;
      for (const column of [right, right - 1]) {
        if (matrix[row][column] !== undefined) continue;
        const bit = (codewords[at >> 3] >> (7 - (at & 7))) & 1;
        at += 1;
        matrix[row][column] = Boolean(bit) !== (mask(row, column) === 0);
      }
    }
  }
}

/** Return how hard a code is to read: runs, squares, what looks like a finder, and the balance. */
function penaltyOf(matrix) {
  const size = matrix.length;
  let penalty = 0;
  const lines = [...matrix, ...matrix.map((_, column) => matrix.map((row) => row[column]))];
  for (const line of lines) {
    const text = line.map(Number).join("");
    for (const run of text.match(/0{5,}|1{5,}/g) ?? []) penalty += run.length - 2;
    penalty += 40 * [...text.matchAll(/(?=10111010000|00001011101)/g)].length;
  }
  let dark = 0;
  for (let row = 0; row < size; row += 1) {
    for (let column = 0; column < size; column += 1) {
      const here = matrix[row][column];
      dark += here;
      const isSquare = row && column && here === matrix[row - 1][column] &&
        here === matrix[row][column - 1] && here === matrix[row - 1][column - 1];
      if (isSquare) penalty += 3;
    }
  }
  return penalty + 10 * Math.floor(Math.abs(dark * 20 - size * size * 10) / (size * size));
}
