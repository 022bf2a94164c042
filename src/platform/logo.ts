/** A logo as it was uploaded, made safe: what it is says its content, never its name or a declared type (A98). */
import { MOST_PICTURE_BYTES, type Picture, refusePicture } from './picture.ts'
import { cleanPng, isPng } from './png.ts'
import { cleanSvg, isSvg } from './svg.ts'

/**
 * The picture, written anew.
 * @throws {PictureError} naming what is wrong
 */
export function cleanLogo(file: Buffer): Picture {
  if (file.length > MOST_PICTURE_BYTES) return refusePicture(`is larger than ${MOST_PICTURE_BYTES / 1024} KiB`)
  if (isPng(file)) return cleanPng(file)
  if (isSvg(file)) return cleanSvg(file)
  return refusePicture('is neither PNG nor SVG')
}
