# shellcheck shell=bash
# Configures and builds into a folder below build/. Sourced by ./demo and ./test, from the project's folder.

# build_in FOLDER WORDS CMAKE-OPTION...: quiet when it goes well; the end of the log when it does not
build_in() {
    local folder=$1 words=$2 log=$1.log started=$SECONDS
    shift 2
    mkdir -p build
    if [ -e "$folder" ] && [ ! -w "$folder" ]; then
        printf '%s belongs to %s: remove it, or run this as that user\n' "$folder" "$(stat -c %U "$folder")" >&2
        return 1
    fi
    # CMake refuses a folder that was configured for another place, as after a copy of the whole checkout
    grep -qsxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" "$folder/CMakeCache.txt" || rm -rf "$folder"
    { cmake -S . -B "$folder" -G Ninja "$@" && cmake --build "$folder"; } >"$log" 2>&1 || {
        grep -E 'error|Error|FAILED' "$log" | head -n 20 >&2
        tail -n 20 "$log" >&2
        printf 'The build of %s failed (all of it: %s)\n' "$folder" "$log" >&2
        return 1
    }
    printf 'Built %s: %s (%s s)\n' "$folder" "$words" $((SECONDS - started))
}
