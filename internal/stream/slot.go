package stream

import "strings"

const slots = 16384

// slot returns the hash slot of a key, as the Redis cluster specification defines it: the CRC16 of
// the hash tag, or of the whole key if it has none.
func slot(key string) int {
	if _, rest, opened := strings.Cut(key, "{"); opened {
		if tag, _, closed := strings.Cut(rest, "}"); closed && tag != "" {
			key = tag
		}
	}
	return crcSlot(key)
}

// crcSlot returns the hash slot of a text without a hash tag.
func crcSlot[T string | []byte](text T) int {
	var crc uint16
	for i := range len(text) {
		crc ^= uint16(text[i]) << 8
		for range 8 {
			if crc&0x8000 == 0 {
				crc <<= 1
			} else {
				crc = crc<<1 ^ 0x1021
			}
		}
	}
	return int(crc) % slots
}
