// The two directions in which many numbers differ most (principal components), by power iteration.

const TURNS = 100;

// Places [count x 2] of features [count x width], whose columns have mean 0.
export function pca(features, count, width) {
  const covariance = new Float64Array(width * width);
  for (let e = 0; e < count; e++) {
    for (let a = 0; a < width; a++) {
      for (let b = 0; b < width; b++) covariance[a * width + b] += (features[e * width + a] * features[e * width + b]) / count;
    }
  }
  const places = new Float64Array(2 * count);
  for (let axis = 0; axis < 2; axis++) {
    const { direction, size } = strongest(covariance, width);
    for (let e = 0; e < count; e++) {
      let sum = 0;
      for (let c = 0; c < width; c++) sum += features[e * width + c] * direction[c];
      places[2 * e + axis] = sum;
    }
    for (let a = 0; a < width; a++) {
      for (let b = 0; b < width; b++) covariance[a * width + b] -= size * direction[a] * direction[b];
    }
  }
  return places;
}

// The eigenvector of the greatest eigenvalue of a symmetric matrix [width x width].
function strongest(matrix, width) {
  let direction = Float64Array.from({ length: width }, (_, k) => 1 + 0.1 * Math.sin(k + 1));
  let size = 0;
  for (let turn = 0; turn < TURNS; turn++) {
    const next = new Float64Array(width);
    for (let a = 0; a < width; a++) {
      for (let b = 0; b < width; b++) next[a] += matrix[a * width + b] * direction[b];
    }
    size = Math.hypot(...next);
    if (size < 1e-12) return { direction: new Float64Array(width), size: 0 };
    direction = next.map((x) => x / size);
  }
  return { direction, size };
}
