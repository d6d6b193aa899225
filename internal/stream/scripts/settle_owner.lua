-- Renews the lease of the owner of a stream, or releases the stream.
-- KEYS[1]: owner key (owner.lua)
-- ARGV[1]: keep or release
settle(KEYS[1], ARGV[1])
return 1
