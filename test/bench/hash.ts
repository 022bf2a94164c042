/** Says how much CPU one argon2id verification costs by itself, in µs: `node hash.ts <KiB> <passes> <times>`. */
import argon2 from 'argon2'
import { PASSWORD } from './flows.ts'

const [memoryCost, timeCost, times] = process.argv.slice(2).map(Number) as [number, number, number]
const hash = await argon2.hash(PASSWORD, { memoryCost, timeCost, parallelism: 1 })
const before = process.cpuUsage()
for (let i = 0; i < times; i++) await argon2.verify(hash, PASSWORD)
const { user, system } = process.cpuUsage(before)
process.stdout.write(String((user + system) / times))
