/** PNG files for tests, whole or wrong in one place. */
import { crc32, deflateSync } from 'node:zlib'

export const PNG_SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])

export function pngChunk(type: string, data: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  sum.writeUInt32BE(crc32(named))
  return Buffer.concat([length, named, sum])
}

export interface PngOptions {
  readonly width?: number
  readonly height?: number
  readonly bits?: number
  readonly colourType?: number
  readonly interlace?: number
  /** Image data before compression; by default as much as the header promises for 8-bit RGBA. */
  readonly raw?: Buffer
  /** After compression. */
  readonly idat?: readonly Buffer[]
  readonly before?: readonly Buffer[]
  readonly after?: readonly Buffer[]
  readonly end?: Buffer
}

export function pngHeader({ width = 4, height = 3, bits = 8, colourType = 6, interlace = 0 }: PngOptions): Buffer {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([bits, colourType, 0, 0, interlace], 8)
  return pngChunk('IHDR', header)
}

export function png(options: PngOptions = {}): Buffer {
  const { width = 4, height = 3, before = [], after = [], end = Buffer.alloc(0) } = options
  const raw = options.raw ?? Buffer.alloc((1 + width * 4) * height)
  const data = options.idat ?? [deflateSync(raw)]
  return Buffer.concat([
    PNG_SIGNATURE,
    pngHeader(options),
    ...before,
    ...data.map((part) => pngChunk('IDAT', part)),
    ...after,
    pngChunk('IEND', Buffer.alloc(0)),
    end,
  ])
}
