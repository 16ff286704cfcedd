// `sluice completion bash`: a script for the shell, made from the commands themselves. Names of streams and groups are asked of the node.

import { COMMON_OPTIONS, type Command, defineCommand, UsageError } from './command.js'

/** What stands first after a command, where the node or a fixed list knows it. */
const FIRST_WORDS: Readonly<Record<string, string>> = {
  consume: '$(_sluice_names streams name)',
  query: '$(_sluice_names streams name)',
  streams: '$(_sluice_names streams name)',
  groups: '$(_sluice_names groups group)',
  queues: '$(_sluice_names queues stream)',
  upstreams: '$(_sluice_names upstreams name)',
  devices: '$(_sluice_names devices id)',
  tokens: 'create revoke',
  completion: 'bash',
}

export const command = defineCommand({
  name: 'completion',
  summary: 'print a completion script for the shell',
  usage: ['completion bash'],
  options: {},
  positionals: { min: 1, max: 1 },
  examples: [
    'source <(sluice completion bash)  # for this shell',
    'sluice completion bash > /etc/bash_completion.d/sluice  # for everyone',
  ],
  async run({ positionals, stdout, loadCommands }) {
    const [shell] = positionals
    if (shell !== 'bash') throw new UsageError(`there is a script for bash only, not for ${JSON.stringify(shell)}`)
    await stdout.write(bashScript(await loadCommands()))
    return 0
  },
})

function bashScript(commands: readonly Command[]): string {
  const names = commands.map(({ name }) => name)
  const options = commands.map(({ name, options: own }) => {
    const words = Object.keys({ ...own, ...COMMON_OPTIONS }).map((option) => `--${option}`)
    return `    ${name}) options='${words.join(' ')}' ;;`
  })
  const firstWords = Object.entries(FIRST_WORDS)
    .filter(([name]) => names.includes(name))
    .map(([name, words]) => `      ${name}) COMPREPLY=($(compgen -W "${words}" -- "$current")) ;;`)
  return `${[
    '# Completion of sluice for bash: source <(sluice completion bash)',
    '_sluice_names() {',
    '  "$sluice" "$1" --json 2>/dev/null | sed -n \'s/.*"\'"$2"\'":"\\([^"]*\\)".*/\\1/p\'',
    '}',
    '_sluice() {',
    `  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} sluice=\${COMP_WORDS[0]} options`,
    '  COMPREPLY=()',
    '  if [ "$COMP_CWORD" -eq 1 ]; then',
    `    COMPREPLY=($(compgen -W '${names.join(' ')} help' -- "$current"))`,
    '    return',
    '  fi',
    '  case $previous in',
    '    --config|--data) COMPREPLY=($(compgen -f -- "$current")); return ;;',
    '    --group) COMPREPLY=($(compgen -W "$(_sluice_names groups group)" -- "$current")); return ;;',
    '    --stream) COMPREPLY=($(compgen -W "$(_sluice_names streams name)" -- "$current")); return ;;',
    `    help) COMPREPLY=($(compgen -W '${names.join(' ')}' -- "$current")); return ;;`,
    '  esac',
    `  case \${COMP_WORDS[1]} in`,
    ...options,
    '  esac',
    '  if [[ $current == -* ]]; then',
    '    COMPREPLY=($(compgen -W "$options" -- "$current"))',
    '  elif [ "$COMP_CWORD" -eq 2 ]; then',
    `    case \${COMP_WORDS[1]} in`,
    ...firstWords,
    '      passwd) COMPREPLY=($(compgen -f -- "$current")) ;;',
    '    esac',
    '  fi',
    '}',
    'complete -o default -F _sluice sluice',
  ].join('\n')}\n`
}
