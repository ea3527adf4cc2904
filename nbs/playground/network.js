// The network and its decision in plain JavaScript: what nbs/ui/playground.ipynb derives
// tests/browser/test_playground.py checks it against PyTorch
'use strict'
const network = (() => {

// ---- Numbers as text: base64 of little-endian bytes, as from `b64` there
function numbers(text, kind) {
  const bytes = Uint8Array.from(atob(text), o => o.charCodeAt(0))
  return kind === Float32Array || kind === Int16Array ? new kind(bytes.buffer) : new kind(bytes)
}

function unpack(net, classes) {
  const layers = net.layers.map(o => ({...o, w: Float32Array.from(numbers(o.w, Int8Array)),
    scale: numbers(o.scale, Float32Array), shift: numbers(o.shift, Float32Array)}))
  return {layers, weight: numbers(net.weight, Float32Array), bias: numbers(net.bias, Float32Array), classes}
}

// ---- A picture squeezed into a square as Pillow's `resize(BILINEAR, reducing_gap=2)` does it,
// but for a grey level where newer versions of Pillow take the columns first
// Pixels are RGB bytes in rows
function reduce(rgb, w, h, fx, fy) { // the mean of each block of fx by fy pixels
  const nw = Math.ceil(w/fx), nh = Math.ceil(h/fy), out = new Uint8Array(nw*nh*3) // which cuts off fractions
  for (let y = 0; y < nh; y++) for (let x = 0; x < nw; x++) {
    const x1 = Math.min(w, x*fx+fx), y1 = Math.min(h, y*fy+fy), n = (x1-x*fx)*(y1-y*fy)
    for (let c = 0; c < 3; c++) {
      let sum = 0
      for (let j = y*fy; j < y1; j++) for (let i = x*fx; i < x1; i++) sum += rgb[(j*w+i)*3+c]
      out[(y*nw+x)*3+c] = (sum + (n>>1))*Math.floor(16777216/n)/16777216 // as Pillow divides: units of 2^-24
    }
  }
  return [out, nw, nh]
}

// For each of `size` places its first pixel and the weights, in units of 2^-22
function triangle(from, length, size) {
  const scale = length/size, wide = Math.max(scale, 1), res = []
  for (let i = 0; i < size; i++) {
    const mid = (i+.5)*scale
    const first = Math.max(0, Math.floor(mid-wide+.5)), last = Math.min(from, Math.floor(mid+wide+.5))
    const w = []
    for (let x = first; x < last; x++) w.push(Math.max(0, 1 - Math.abs((x-mid+.5)*(1/wide))))
    const sum = w.reduce((a, b) => a+b, 0)
    res.push([first, w.map(o => Math.floor(o/sum*4194304 + .5))])
  }
  return res
}

function alongRows(rgb, w, h, places) {
  const n = places.length, out = new Uint8ClampedArray(n*h*3)
  for (let y = 0; y < h; y++) for (let x = 0; x < n; x++) for (let c = 0; c < 3; c++) {
    const [first, ws] = places[x]
    let sum = 2097152
    for (let k = 0; k < ws.length; k++) sum += rgb[(y*w+first+k)*3+c]*ws[k]
    out[(y*n+x)*3+c] = sum >> 22
  }
  return out
}

function turned(rgb, w, h) { // rows become columns
  const out = new Uint8ClampedArray(rgb.length)
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) for (let c = 0; c < 3; c++)
    out[(x*h+y)*3+c] = rgb[(y*w+x)*3+c]
  return out
}

function squeeze(rgb, w, h, size) {
  const fx = Math.floor(w/size/2) || 1, fy = Math.floor(h/size/2) || 1, lw = w/fx, lh = h/fy
  if (fx > 1 || fy > 1) [rgb, w, h] = reduce(rgb, w, h, fx, fy)
  const rows = alongRows(rgb, w, h, triangle(w, lw, size))
  return turned(alongRows(turned(rows, size, h), h, size, triangle(h, lh, size)), size, size)
}

// ---- The layers
function normalised(rgb, size, mean, std) { // bytes to channels of numbers
  const n = size*size, x = new Float32Array(3*n)
  for (let c = 0; c < 3; c++) for (let i = 0; i < n; i++) x[c*n+i] = (rgb[i*3+c]/255 - mean[c])/std[c]
  return x
}

// 3×3 convolution with a ring of zeros, then scale, shift and ReLU:
// a loop over filters, channels, the nine numbers, and cells
function conv(x, side, {ni, nf, stride, w, scale, shift}) {
  const out = Math.ceil(side/stride), n = out*out, wide = side+2, plane = wide*wide
  const padded = new Float32Array(ni*plane), res = new Float32Array(nf*n)
  for (let c = 0; c < ni; c++) for (let y = 0; y < side; y++)
    padded.set(x.subarray(c*side*side+y*side, c*side*side+(y+1)*side), c*plane+(y+1)*wide+1)
  for (let f = 0; f < nf; f++) {
    const sum = new Float32Array(n)
    for (let c = 0; c < ni; c++) {
      const [w0, w1, w2, w3, w4, w5, w6, w7, w8] = w.subarray((f*ni+c)*9, (f*ni+c)*9+9)
      for (let y = 0, i = 0; y < out; y++) {
        let a = c*plane + y*stride*wide, b = a+wide, d = b+wide
        for (let j = 0; j < out; j++, i++, a += stride, b += stride, d += stride)
          sum[i] += w0*padded[a] + w1*padded[a+1] + w2*padded[a+2] +
            w3*padded[b] + w4*padded[b+1] + w5*padded[b+2] +
            w6*padded[d] + w7*padded[d+1] + w8*padded[d+2]
      }
    }
    for (let i = 0; i < n; i++) res[f*n+i] = Math.max(0, sum[i]*scale[f] + shift[f])
  }
  return {maps: res, side: out, channels: nf}
}

function run(net, rgb, {size, mean, std}) {
  const layers = []
  let at = {maps: normalised(rgb, size, mean, std), side: size}
  for (const o of net.layers) layers.push(at = conv(at.maps, at.side, o))
  const n = at.side**2, means = []
  for (let c = 0; c < at.channels; c++) {
    let sum = 0
    for (let i = c*n; i < (c+1)*n; i++) sum += at.maps[i]
    means.push(sum/n)
  }
  const weighted = (b, k) => means.reduce((s, o, c) => s + o*net.weight[k*at.channels+c], b)
  const feats = means.map(o => Math.sign(o)*Math.sqrt(Math.abs(o)+1e-6)) // as `RootPool`
  return {layers, logits: Array.from(net.bias, weighted), feats}
}

// Class activation map: the head's weights over the last maps; its mean plus the bias is the logit
function classMap(net, {maps, side, channels}, k) {
  const n = side*side, out = new Float32Array(n)
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < n; i++) out[i] += net.weight[k*channels+c]*maps[c*n+i]
  return out
}

// ---- Probabilities and the decision
const sigmoid = z => 1/(1+Math.exp(-z))
const logit = p => Math.log(p/(1-p))
function softmax(z) {
  const top = Math.max(...z), e = z.map(o => Math.exp(o-top)), sum = e.reduce((a, b) => a+b, 0)
  return e.map(o => o/sum)
}
function topShare(z) { // the largest probability of a softmax as a logit
  const top = Math.max(...z), rest = [...z]
  rest.splice(rest.indexOf(top), 1)
  return -Math.log(rest.reduce((s, o) => s + Math.exp(o-top), 0))
}

function references({refs, nRefs}) { // as directions of length 1
  const all = numbers(refs, Int8Array), n = all.length/nRefs, out = new Float32Array(all.length)
  for (let r = 0; r < nRefs; r++) {
    const row = all.subarray(r*n, (r+1)*n), len = Math.hypot(...row) || 1
    row.forEach((o, i) => out[r*n+i] = o/len)
  }
  return out
}

// Half of what the share of pictures with each label says for it: `half_prior` of chapter 07
const halfPrior = prior => prior.map(p => logit(Math.min(Math.max(p, 1e-4), 1-1e-4))/2)
const softplus = z => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)))
function score(logits, feats, refs, rule) { // how known a picture seems: 0 is the average known one
  const n = feats.length, len = Math.hypot(...feats) || 1, near = []
  for (let r = 0; r < refs.length; r += n) {
    let sum = 0
    for (let i = 0; i < n; i++) sum += feats[i]*refs[r+i]
    near.push(sum/len)
  }
  near.sort((a, b) => b-a)
  const half = halfPrior(rule.prior ?? logits.map(() => .5)) // of a half it is 0
  const energy = logits.reduce((s, z, k) => s + softplus(z-half[k]), 0)
  const parts = {knn: near.slice(0, rule.k).reduce((a, b) => a+b, 0)/Math.min(rule.k, near.length),
    joint_energy: Math.log(Math.max(energy, 1.2e-38)), max_logit: Math.max(...logits)}
  return Object.keys(rule.mean).reduce((s, o) => s + (parts[o]-rule.mean[o])/rule.std[o], 0)
}

// The rule of chapter 07, as `given` and `marks` of engine/decision; the page has no other copy.
// With a passing score the likeliest label is given, and every other one that passes its threshold.
// Without, there is no label. The reader may ask for a `least` probability of the likeliest label too
function decide(logits, score, {thresh, threshs, least = 0}) {
  const first = logits.indexOf(Math.max(...logits))
  const marks = threshs.map((t, k) => k === first ? least : t) // what each label needs
  const given = logits.map((z, k) => score >= thresh && sigmoid(z) > marks[k])
  return {given, marks}
}

// The lines at a keep rate in whole per cent: `Decision.at`. In the data, `null` lets every score pass
const orAll = thresh => thresh === null ? -Infinity : thresh
function lines({vocab, keep, score, thresholds, kept}, percent) {
  const thresh = percent === Math.round(keep*100) ? score.thresh : kept[percent-1]
  return {thresh: orAll(thresh), threshs: vocab.map(o => thresholds[o])}
}

return {numbers, unpack, squeeze, run, classMap,
  sigmoid, logit, softmax, topShare, references, score, decide, lines}
})()
if (typeof module !== 'undefined') module.exports = network
