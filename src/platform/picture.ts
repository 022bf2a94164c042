/** What a picture of strangers' making is once it is clean, and how it is refused. */

export interface Picture {
  readonly type: 'image/png' | 'image/svg+xml'
  readonly width: number
  readonly height: number
  readonly body: Buffer
}

/** A picture that is not taken; the message completes "the picture …". */
export class PictureError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'PictureError'
  }
}

export const MOST_PICTURE_BYTES = 256 * 1024
const MOST_PIXELS = 2048

export function refusePicture(message: string): never {
  throw new PictureError(message)
}

/** Width and height, when a browser can be asked to draw them. */
export function checkSize(size: { width: number; height: number }): { width: number; height: number } {
  const { width, height } = size
  if (!(width >= 1 && height >= 1)) refusePicture('has no size')
  if (width > MOST_PIXELS || height > MOST_PIXELS) {
    refusePicture(`is larger than ${MOST_PIXELS} × ${MOST_PIXELS} pixels`)
  }
  return size
}
