import java.util.Arrays;

/**
 * Runs another program's main method and ends the process when standard input closes.
 *
 * A test process that is killed cannot clean up after itself; with this its servers notice and go.
 * Run: java Guard MAIN_CLASS [ARGUMENT ...]
 */
public class Guard {
    public static void main(String[] args) throws Exception {
        Thread guard = new Thread(Guard::waitForEnd, "guard");
        guard.setDaemon(true);
        guard.start();
        String[] rest = Arrays.copyOfRange(args, 1, args.length);
        Class.forName(args[0]).getMethod("main", String[].class).invoke(null, (Object) rest);
    }

    private static void waitForEnd() {
        try {
            while (System.in.read() >= 0) {
                // Nothing is ever sent: only the end counts.
            }
        } catch (java.io.IOException e) {
            // A broken pipe means the same as its end.
        }
        // halt, not exit: nobody is left who needs a clean shutdown.
        Runtime.getRuntime().halt(0);
    }
}
