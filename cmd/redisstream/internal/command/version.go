package command

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

type versionView struct {
	Version string `json:"version"`
	Library string `json:"library"`
	Go      string `json:"go"`
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Show the version of the program",
		Example: "  redisstream version",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := versionView{Version: "unknown", Library: "unknown"}
			if info, ok := debug.ReadBuildInfo(); ok {
				v.Version, v.Go = info.Main.Version, info.GoVersion
				for _, dep := range info.Deps {
					if dep.Path == "github.com/millrace/redisstream" {
						v.Library = dep.Version
					}
				}
			}
			return a.write(v, fmt.Sprintf("redisstream %s, library %s, %s", v.Version, v.Library, v.Go))
		},
	}
}
