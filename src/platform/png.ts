/**
 * A PNG picture taken apart and put together again (W3C PNG, third edition): only the chunks that make the image, each with
 * its check sum, and image data that unpacks to exactly the size the header promises. Text, colour profiles, animation and
 * whatever else was hidden in the file stay behind; a bomb is met before it is unpacked (A98).
 */
import { crc32, type Inflate, inflateSync } from 'node:zlib'
import { checkSize, type Picture, refusePicture } from './picture.ts'

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
/** Bits of one sample by colour type (PNG §11.2.1), and how many samples a pixel has. */
const DEPTHS: { readonly [type: number]: readonly number[] } = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16],
}
const SAMPLES: { readonly [type: number]: number } = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }
/** Adam7: first column and row of each pass, and the steps between (PNG §8.2). */
const PASSES = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const

interface Chunk {
  readonly type: string
  readonly data: Buffer
}

interface Header {
  readonly width: number
  readonly height: number
  readonly bits: number
  readonly colourType: number
  readonly interlaced: boolean
}

/** Whether a file begins as a PNG does, whatever it is called. */
export const isPng = (file: Buffer): boolean => file.subarray(0, 8).equals(SIGNATURE)

/**
 * Reads and rewrites a PNG.
 * @throws {PictureError} naming what is wrong
 */
export function cleanPng(file: Buffer): Picture {
  const chunks = chunksOf(file)
  const [first] = chunks
  if (first?.type !== 'IHDR') refusePicture('does not begin with its header')
  const header = headerOf(first.data)
  // The size is checked before anything is unpacked.
  const { width, height } = checkSize({ width: header.width, height: header.height })
  const palette = chunks.filter(({ type }) => type === 'PLTE')
  const transparency = chunks.filter(({ type }) => type === 'tRNS')
  const headers = chunks.filter(({ type }) => type === 'IHDR')
  if (headers.length > 1 || palette.length > 1 || transparency.length > 1) refusePicture('has a chunk twice')
  checkPalette(header, palette[0]?.data, transparency[0]?.data)
  const data = imageData(chunks, header)
  const kept: Chunk[] = [
    first,
    ...palette,
    ...transparency,
    { type: 'IDAT', data },
    { type: 'IEND', data: Buffer.alloc(0) },
  ]
  return { type: 'image/png', width, height, body: Buffer.concat([SIGNATURE, ...kept.map(encode)]) }
}

function chunksOf(file: Buffer): Chunk[] {
  const chunks: Chunk[] = []
  let at = SIGNATURE.length
  while (at < file.length) {
    if (at + 12 > file.length) refusePicture('is cut off')
    const length = file.readUInt32BE(at)
    if (at + 12 + length > file.length) refusePicture('is cut off')
    const type = file.toString('latin1', at + 4, at + 8)
    if (!/^[A-Za-z]{4}$/.test(type)) refusePicture('has a chunk without a name')
    const data = file.subarray(at + 8, at + 8 + length)
    if (crc32(file.subarray(at + 4, at + 8 + length)) !== file.readUInt32BE(at + 8 + length)) {
      refusePicture(`has a wrong check sum in ${type}`)
    }
    at += 12 + length
    if (type === 'IEND') {
      // What follows would be another file for another program.
      if (at !== file.length) refusePicture('goes on after its end')
      return chunks
    }
    // An upper case letter first: nobody may show the picture without understanding the chunk (PNG §5.4).
    if (/^[A-Z]/.test(type) && !['IHDR', 'PLTE', 'IDAT'].includes(type)) refusePicture(`has an unknown chunk ${type}`)
    chunks.push({ type, data })
  }
  return refusePicture('has no end')
}

function headerOf(data: Buffer): Header {
  if (data.length !== 13) refusePicture('has a broken header')
  const [bits = 0, colourType = 0, compression = 0, filter = 0, interlace = 0] = data.subarray(8)
  if (!DEPTHS[colourType]?.includes(bits) || compression !== 0 || filter !== 0 || interlace > 1) {
    refusePicture('has a header that PNG does not know')
  }
  return { width: data.readUInt32BE(0), height: data.readUInt32BE(4), bits, colourType, interlaced: interlace === 1 }
}

function checkPalette({ colourType, bits }: Header, palette?: Buffer, transparency?: Buffer): void {
  const entries = (palette?.length ?? 0) / 3
  if (!Number.isInteger(entries) || entries > 256) refusePicture('has a broken palette')
  if (colourType === 3 && (entries === 0 || entries > 2 ** bits)) refusePicture('has a palette of a wrong size')
  if ((colourType === 0 || colourType === 4) && palette !== undefined) refusePicture('has a palette it cannot use')
  if (transparency === undefined) return
  const sizes: { readonly [type: number]: boolean } = {
    0: transparency.length === 2,
    2: transparency.length === 6,
    3: transparency.length > 0 && transparency.length <= entries,
  }
  if (sizes[colourType] !== true) refusePicture('has transparency of a wrong size')
}

/** The zlib stream alone, once it is known to hold this picture and nothing else. */
function imageData(chunks: readonly Chunk[], header: Header): Buffer {
  const at = chunks.findIndex(({ type }) => type === 'IDAT')
  const parts = chunks.filter(({ type }) => type === 'IDAT')
  if (at < 0) refusePicture('has no image data')
  if (chunks.slice(at, at + parts.length).some(({ type }) => type !== 'IDAT')) refusePicture('has scattered image data')
  const packed = Buffer.concat(parts.map(({ data }) => data))
  const rows = rowsOf(header)
  const size = rows.reduce((sum, length) => sum + length, 0)
  const { buffer, used } = unpack(packed, size)
  if (buffer.length !== size) refusePicture('has image data of another size than its header says')
  let start = 0
  for (const length of rows) {
    if ((buffer[start] ?? 0) > 4) refusePicture('has a filter that PNG does not know')
    start += length
  }
  return packed.subarray(0, used)
}

/** Inflates at most one byte more than the picture can have. */
function unpack(packed: Buffer, size: number): { buffer: Buffer; used: number } {
  const options = { maxOutputLength: size + 1, info: true }
  try {
    const { buffer, engine } = inflateSync(packed, options) as unknown as { buffer: Buffer; engine: Inflate }
    return { buffer, used: engine.bytesWritten }
  } catch {
    return refusePicture('has image data that cannot be unpacked to the size of its header')
  }
}

/** Bytes of each row, its filter byte included. */
function rowsOf({ width, height, bits, colourType, interlaced }: Header): number[] {
  const row = (pixels: number) => 1 + Math.ceil((pixels * bits * (SAMPLES[colourType] ?? 0)) / 8)
  if (!interlaced) return Array<number>(height).fill(row(width))
  return PASSES.flatMap(([x, y, right, down]) => {
    const [columns, lines] = [Math.ceil((width - x) / right), Math.ceil((height - y) / down)]
    return columns > 0 && lines > 0 ? Array<number>(lines).fill(row(columns)) : []
  })
}

function encode({ type, data }: Chunk): Buffer {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  sum.writeUInt32BE(crc32(named))
  return Buffer.concat([length, named, sum])
}
