# shellcheck shell=bash
# bash completion for certswapctl(1). The words come from the program itself, so they are those of its version.

_certswapctl_names() {
	# names of the certificates that the agent knows; nothing where it can't be reached
	"$1" status --json 2>/dev/null | sed -n 's/^      "name": "\([A-Za-z0-9._-]*\)",\{0,1\}$/\1/p'
}

_certswapctl_values() {
	# what may stand behind an option; $1 program, $2 option, $3 what was typed of it
	case $2 in
	--config | -c | --key | --trust | --password-file | --out | -o) mapfile -t COMPREPLY < <(compgen -f -- "$3") ;;
	--name | -n) mapfile -t COMPREPLY < <(compgen -W "$(_certswapctl_names "$1")" -- "$3") ;;
	--case) mapfile -t COMPREPLY < <(compgen -W "a b c d e f g h i j k l m n o p" -- "$3") ;;
	--scope) mapfile -t COMPREPLY < <(compgen -W "key host" -- "$3") ;;
	--lang) mapfile -t COMPREPLY < <(compgen -W "en ja" -- "$3") ;;
	--profile) mapfile -t COMPREPLY < <(compgen -W "auto public private" -- "$3") ;;
	--to) mapfile -t COMPREPLY < <(compgen -W "standby" -- "$3") ;;
	--reason) mapfile -t COMPREPLY < <(compgen -W "unspecified keyCompromise affiliationChanged superseded \
		cessationOfOperation privilegeWithdrawn" -- "$3") ;;
	esac
}

_certswapctl_operands() {
	# $1 program, $2 command, $3 how many operands stand there already, $4 what was typed
	case $2 in
	check | submit | 'deny add') mapfile -t COMPREPLY < <(compgen -f -- "$4") ;;
	standby)
		if (($3)); then
			mapfile -t COMPREPLY < <(compgen -f -- "$4")
		else
			mapfile -t COMPREPLY < <(compgen -W "$(_certswapctl_names "$1")" -- "$4")
		fi
		;;
	status | notice | swap | rollback | confirm | csr | drill | request | waive | release)
		mapfile -t COMPREPLY < <(compgen -W "$(_certswapctl_names "$1")" -- "$4")
		;;
	help) mapfile -t COMPREPLY < <(compgen -W "$("$1" help --words 2>/dev/null | cut -d' ' -f1 | sort -u)" -- "$4") ;;
	esac
}

_certswapctl() {
	local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	local commands command='' options i operands=0 skip=0
	COMPREPLY=()
	commands=$("$program" help --words 2>/dev/null) || return
	for ((i = 1; i < COMP_CWORD; i++)); do
		if ((skip)); then
			skip=0
		elif [[ ${COMP_WORDS[i]} == -c || ${COMP_WORDS[i]} == --config ]]; then
			skip=1
		elif [[ ${COMP_WORDS[i]} == -* ]]; then
			[[ -n $command ]] && grep -qxF -- "${COMP_WORDS[i]}=" <<<"$options" && skip=1
		elif [[ -z $command ]] || grep -qxF -- "$command ${COMP_WORDS[i]}" <<<"$commands"; then
			command=${command:+$command }${COMP_WORDS[i]}
			# shellcheck disable=SC2086  # a command may be two words
			options=$("$program" help --words $command 2>/dev/null)
		else
			((operands++))
		fi
	done
	if ((skip)); then
		_certswapctl_values "$program" "$before" "$word"
	elif [[ -z $command ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(cut -d' ' -f1 <<<"$commands" | sort -u)" -- "$word")
	elif ! grep -qxF -- "$command" <<<"$commands"; then
		mapfile -t COMPREPLY < <(compgen -W "$(sed -n "s/^$command //p" <<<"$commands")" -- "$word")
	elif [[ $word == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "${options//=/}" -- "$word")
	else
		_certswapctl_operands "$program" "$command" "$operands" "$word"
	fi
}
complete -o filenames -F _certswapctl certswapctl
