package members

// workerVariable is set in the environment of a worker process: its topic.
const workerVariable = "REDISSTREAM_PARTITIONS_WORKER"

func work(string) {}
