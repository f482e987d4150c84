// Command bench loads any endpoint that speaks etcd v3 and measures ChainFire
// beside etcd, and its S3 beside MinIO's, on one machine: throughput, latency, and what
// the servers use of the processor and of memory.
//
// It runs on Linux only, where it reads /proc and the servers die with it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	// Servers ask the kernel to be killed when the thread that started them
	// ends. This keeps main on the one thread that lasts as long as the process.
	runtime.LockOSThread()
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "bench",
		Short:         "measure ChainFire beside etcd and MinIO",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(loadCommand(), compareCommand(), restartCommand(), gapCommand(), growthCommand(), s3Command(), isolationCommand(),
		uploadCommand(), tableCommand(), echoCommand())
	return root
}
