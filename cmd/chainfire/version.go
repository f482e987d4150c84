package main

import (
	"runtime"
	"strings"

	"github.com/spf13/cobra"
)

// release is the version of the product, of which the first two numbers say who may
// join a cluster.
const release = "0.1.0"

// version is what git describe says of the source. The linker sets it.
var version string

// productVersion is the release, with the build it is where that is known.
func productVersion() string {
	build := strings.TrimPrefix(version, "v")
	if build == "" || build == "unknown" || build == release {
		return release
	}
	return release + "+" + build
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		Args:  needArgs(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if a.format == formatJSON {
				return a.printJSON(struct {
					Version string `json:"version"`
					Go      string `json:"go"`
					OS      string `json:"os"`
					Arch    string `json:"arch"`
				}{productVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH})
			}
			return a.printf("chainfire %s (%s, %s/%s)\n", productVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}
