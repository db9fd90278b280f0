package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

const bashCompletion = `_eider_complete() {
  local cur="${COMP_WORDS[COMP_CWORD]}"
  local words=("${COMP_WORDS[@]:0:COMP_CWORD}")
  [[ "$cur" == -* ]] && words+=("$cur")
  COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F _eider_complete eider
`

const zshCompletion = `#compdef eider
_eider_complete() {
  local -a opts before
  local cur="${words[CURRENT]}"
  before=("${words[@]:0:$((CURRENT-1))}")
  [[ "$cur" == -* ]] && before+=("$cur")
  opts=("${(@f)$("${before[@]}" --generate-bash-completion 2>/dev/null)}")
  if [[ -n "${opts[1]}" ]]; then
    _describe 'eider' opts
  else
    _files
  fi
}
compdef _eider_complete eider
`

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:        "completion",
		Usage:       "write the completion script of a shell",
		ArgsUsage:   "bash|zsh|fish",
		Description: example("The script completes commands and flags.", `source <(eider completion bash)`, `eider completion fish > ~/.config/fish/completions/eider.fish`),
		Action:      completion,
		BashComplete: func(c *cli.Context) {
			fmt.Fprint(c.App.Writer, "bash\nzsh\nfish\n")
		},
	}
}

func completion(c *cli.Context) error {
	if err := args(c, 1, 1, "the shell (bash, zsh or fish)"); err != nil {
		return err
	}
	switch shell := c.Args().First(); shell {
	case "bash":
		fmt.Fprint(c.App.Writer, bashCompletion)
	case "zsh":
		fmt.Fprint(c.App.Writer, zshCompletion)
	case "fish":
		script, err := c.App.ToFishCompletion()
		if err != nil {
			return failedAt(c, err)
		}
		fmt.Fprint(c.App.Writer, script)
	default:
		return misusedAt(c, "there is no script for %q; there are bash, zsh and fish", shell)
	}
	return nil
}
